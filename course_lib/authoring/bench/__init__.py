"""What the course's code costs beside the field's: a file for each lesson's comparisons, and one for the rest."""
