"""Networks from crops: what each training command does once its options are known."""
