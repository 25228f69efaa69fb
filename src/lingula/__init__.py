"""lingula: vision-language encoders for chest radiographs and chest CT."""
