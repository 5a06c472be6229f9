"""Messages about deliveries: webhooks, chat services, heartbeats, Prometheus."""
