"""The embedded Apache Kafka: its jars, the broker process, the topics."""
