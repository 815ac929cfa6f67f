"""infra/stack/{kafka,redis,cassandra}.py: what each engine is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.settings import Settings
from infra.stack.cassandra import cassandra_engine
from infra.stack.engine import Engine, render, write_files
from infra.stack.jars import jars_folder, missing_jars
from infra.stack.kafka import kafka_engines
from infra.stack.redis import redis_engine


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path / "data",
        jars_dir=tmp_path / "jars",
        kafka="127.0.0.1:1001",
        kafka_controller_port=1002,
        redis="redis://127.0.0.1:1003/0",
        cassandra="127.0.0.1:1004",
        cassandra_storage_port=1005,
    )


@pytest.fixture
def jars(tmp_path: Path) -> Path:
    folder = tmp_path / "some-jars"
    folder.mkdir()
    (folder / "jamm-0.4.0.jar").touch()
    return folder


def only_file(engine: Engine) -> str:
    (text,) = engine.files.values()
    return text


def test_kafka_listens_where_the_settings_say(settings: Settings, jars: Path) -> None:
    """And advertises the same address, so that clients come back to it."""
    (engine,) = kafka_engines(settings, "java", jars)
    text = only_file(engine)

    assert "advertised.listeners=CLIENT://127.0.0.1:1001" in text
    assert "controller.quorum.voters=1@127.0.0.1:1002" in text
    assert "auto.create.topics.enable=false" in text


def test_each_address_of_kafka_is_a_broker(settings: Settings, jars: Path) -> None:
    """With data and a controller of its own; all of them vote, and internal topics have our replicas."""
    several = settings.model_copy(
        update={"kafka": "127.0.0.1:1001, 127.0.0.1:1011,127.0.0.1:1021", "replication_factor": 3}
    )
    engines = kafka_engines(several, "java", jars)
    texts = [only_file(engine) for engine in engines]

    assert [engine.child.name for engine in engines] == ["kafka", "kafka-2", "kafka-3"]
    assert len({folder for engine in engines for folder in engine.folders}) == 3
    assert "listeners=CLIENT://127.0.0.1:1021,CONTROLLER://127.0.0.1:1004" in texts[2]
    for node, text in enumerate(texts, 1):
        assert f"node.id={node}\n" in text
        assert "controller.quorum.voters=1@127.0.0.1:1002,2@127.0.0.1:1003,3@127.0.0.1:1004\n" in text
        assert "offsets.topic.replication.factor=3\n" in text


def test_cassandra_listens_where_the_settings_say(settings: Settings, jars: Path) -> None:
    """And keeps everything under the data folder."""
    engine = cassandra_engine(settings, "java", jars)
    text = only_file(engine)

    assert "native_transport_port: 1004" in text
    assert "storage_port: 1005" in text
    assert all(folder.is_relative_to(settings.data_dir) for folder in engine.folders)
    assert text.count(f'"{settings.data_dir}/cassandra/') == 5


def test_redis_writes_nothing_to_disk(settings: Settings) -> None:
    """It holds only what can be rebuilt."""
    text = only_file(redis_engine(settings, "redis-server"))

    assert "port 1003\n" in text
    assert 'save ""\n' in text
    assert "appendonly no\n" in text


def test_files_are_written_anew_at_each_start(settings: Settings) -> None:
    """A changed setting takes effect on kept data."""
    write_files(redis_engine(settings, "redis-server"))
    moved = redis_engine(settings.model_copy(update={"redis": "redis://127.0.0.1:1999/0"}), "redis-server")
    write_files(moved)

    assert "port 1999\n" in (settings.data_dir / "redis" / "redis.conf").read_text()


def test_a_placeholder_without_a_value_is_an_error() -> None:
    """A configuration is never half filled in."""
    with pytest.raises(KeyError, match="data_dir"):
        render("redis/redis.conf", port=1)


def test_jars_are_missing_until_their_folder_is_there(settings: Settings) -> None:
    """Each pom has a folder of its own, named after what it asks for."""
    assert missing_jars(settings) == ("kafka", "cassandra")
    jars_folder(settings, "kafka").mkdir(parents=True)

    assert missing_jars(settings) == ("cassandra",)
