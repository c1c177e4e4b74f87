"""Training losses: functions of tensors, and the classifier heads that hold weights."""
