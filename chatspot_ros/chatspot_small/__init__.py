"""chatspot-small: the vision tower's class, and its pretrained parts as ordinary folders."""
