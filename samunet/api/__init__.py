"""What the commands do, as typed functions: the stable names of `samunet` are defined here."""
