"""A Milvus that answers, or an error of one line after a stated time."""

from __future__ import annotations

import logging
import os
from typing import Any

CONNECT, ANSWER, INDEX = 10, 60, 3600  # seconds waited: at first, for an answer, for vectors to be indexed or loaded
KINDS: dict[str, tuple[str, dict[str, int]]] = {
    "flat": ("FLAT", {}),
    "hnsw": ("HNSW", {"M": 32, "efConstruction": 128}),
}


class Server:
    """A Milvus that has answered. Raises ValueError without pymilvus, OSError where there is no answer after CONNECT seconds."""

    def __init__(self, uri: str) -> None:
        try:
            import grpc
            import pymilvus
        except ImportError:
            raise ValueError("milvus: needs pymilvus, not installed here; pip install pymilvus") from None
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it logs each error by itself, with its traceback
        self.uri, self.types = uri, pymilvus.DataType
        self.faults = (pymilvus.MilvusException, grpc.RpcError)
        try:
            self.client = pymilvus.MilvusClient(uri, token=os.environ.get("MILVUS_TOKEN", ""), timeout=CONNECT)
        except self.faults:
            raise OSError(
                f"milvus: found no server that lets us in at {uri} within {CONNECT} s; start it, or look at the address and at "
                "MILVUS_TOKEN"
            ) from None

    def ask(self, question: str, *words: Any, timeout: float = ANSWER, **options: Any) -> Any:
        """A method of the client by its name. Raises OSError where the server refuses or does not answer in time."""
        try:
            return getattr(self.client, question)(*words, timeout=timeout, **options)
        except self.faults as error:
            said = " ".join(str(error).split())
            if "DEADLINE_EXCEEDED" in said:
                said = f"no answer within {timeout:g} s"
            raise OSError(f"milvus: {self.uri} failed at {question}: {said}") from None

    def create(self, name: str, dim: int, texts: dict[str, int], *, of_rows: bool = False) -> None:
        """An empty collection: id, vector (dim,), columns of text with their most bytes; of_rows: and the others of a `Row`."""
        schema = self.client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", self.types.INT64, is_primary=True)
        schema.add_field("vector", self.types.FLOAT_VECTOR, dim=dim)
        for column, length in texts.items():
            schema.add_field(column, self.types.VARCHAR, max_length=length)
        if of_rows:
            schema.add_field("time", self.types.DOUBLE, nullable=True)
            schema.add_field("frame", self.types.INT64)
            schema.add_field("box", self.types.ARRAY, element_type=self.types.INT64, max_capacity=4)
        indexed = self.indexed("flat")
        self.ask("create_collection", name, schema=schema, index_params=indexed, consistency_level="Strong")

    def indexed(self, kind: str) -> Any:
        made = self.client.prepare_index_params()
        name, options = KINDS[kind]
        made.add_index("vector", index_type=name, metric_type="IP", params=options)
        return made
