"""Other processes that score files: what they are asked, how they answer, and how they are run."""
