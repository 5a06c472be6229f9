"""How people hear of a watched folder: messages from an outbox, a heartbeat, figures. It knows facts, not rows."""
