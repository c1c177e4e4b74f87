"""Files in, files out: what each command does once its options are known."""
