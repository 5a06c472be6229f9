"""What the commands of the same names do, apart from their options and from printing."""
