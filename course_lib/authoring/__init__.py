"""What turns sources into what is shipped: notebooks, the data set, checkpoints, the tables of parity and speed."""
