"""Training methods, one paper per file: each turns a batch of two views into named losses."""
