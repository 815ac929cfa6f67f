"""The door to Kafka; with the Faust transport in `pipeline/transport.py` the only importer of aiokafka."""

from infra.kafka.bus import KafkaBus, KafkaSubscription
from infra.kafka.topics import ensure_offsets_topic, ensure_topics

__all__ = ["KafkaBus", "KafkaSubscription", "ensure_offsets_topic", "ensure_topics"]
