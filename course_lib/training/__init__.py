"""How models learn: the loop, schedules, checkpoints, adaptation of a trained model, several processes."""
