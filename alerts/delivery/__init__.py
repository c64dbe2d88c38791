"""How alerts leave: from the topic `alerts` to MQTT. A shell: it decides nothing about alerts."""
