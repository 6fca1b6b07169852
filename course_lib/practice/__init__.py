"""Practice: exercises with their cases, likely mistakes and mutants; the check a learner meets; hints and progress."""
