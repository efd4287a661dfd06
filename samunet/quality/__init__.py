"""How good a prediction is without its reference: predicted Dice, and probabilities that mean what they say."""
