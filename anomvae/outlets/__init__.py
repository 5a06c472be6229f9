"""How people hear of a watched folder: messages from an outbox, a heartbeat, figures for Prometheus."""
