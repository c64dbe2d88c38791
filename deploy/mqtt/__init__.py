"""The MQTT broker with the configuration on which BioTwin's delivery guarantee rests."""
