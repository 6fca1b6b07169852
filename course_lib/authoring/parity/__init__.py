"""What each system is compared with, and how far apart they are: a file for each lesson's systems."""
