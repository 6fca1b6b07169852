"""Practice for lesson 01, from the perceptron to attention."""
