"""Alerts over MQTT: every alert on the topic of its priority and patient; answers come back on a response topic."""
