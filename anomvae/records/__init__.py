"""The records that commands return and write: frozen data with names, hardly anything computed here."""
