"""Files in, files out: what each other command does once its options are known."""
