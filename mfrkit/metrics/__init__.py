"""Numbers that say how well a system works: arrays in, plain values out."""
