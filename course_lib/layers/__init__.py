"""The boxes that systems are composed of: attention, MLPs, transformer blocks, convolutions, pooling."""
