"""Of pymilvus what `reid.vectors` uses, in memory: for tests of which questions are asked. Milvus Lite says whether they are right."""

import re
import types

import numpy as np


class MilvusException(Exception):
    pass


class DataType:
    INT64, DOUBLE, VARCHAR, ARRAY, FLOAT_VECTOR = "INT64", "DOUBLE", "VARCHAR", "ARRAY", "FLOAT_VECTOR"


class _Schema:
    def __init__(self):
        self.fields = {}

    def add_field(self, name, kind, **options):
        self.fields[name] = (kind, options)


class _Index:
    def add_index(self, field, index_type, metric_type, params):
        assert (field, metric_type) == ("vector", "IP")
        self.kind = index_type


class MilvusClient:
    """`down`: addresses where nobody answers. `worlds`: collections by address."""

    down, worlds = set(), {}

    def __init__(self, uri, token, timeout):
        if uri in self.down:
            raise MilvusException("Fail connecting to server")
        self.held = self.worlds.setdefault(uri, {})

    def create_schema(self, auto_id, enable_dynamic_field):
        return _Schema()

    def prepare_index_params(self):
        return _Index()

    def has_collection(self, name, timeout):
        return name in self.held

    def create_collection(self, name, schema, index_params, consistency_level, timeout):
        assert consistency_level == "Strong"
        made = types.SimpleNamespace(fields=schema.fields, rows={}, index=index_params.kind, loaded=True, asked=[])
        self.held[name] = made

    def list_indexes(self, name, timeout):
        return ["vector"] if self.held[name].index else []

    def load_collection(self, name, timeout):
        if not self.held[name].index:
            raise MilvusException("index not found")
        self.held[name].loaded = True

    def release_collection(self, name, timeout):
        self.held[name].loaded = False

    def drop_index(self, name, field, timeout):
        assert not self.held[name].loaded
        self.held[name].index = ""

    def create_index(self, name, index, timeout):
        self.held[name].index = index.kind

    def insert(self, name, rows, timeout):
        held = self.held[name]
        for row in rows:
            assert set(row) == set(held.fields)
            assert row["id"] not in held.rows
            self._check(held, row)
        held.rows |= {row["id"]: dict(row) for row in rows}

    def upsert(self, name, rows, timeout):
        self.held[name].rows |= {row["id"]: dict(row) for row in rows}

    def _check(self, held, row):
        for field, (kind, options) in held.fields.items():
            value = row[field]
            if kind == "VARCHAR" and len(value.encode()) > options["max_length"]:
                raise MilvusException(f"length of varchar field {field} exceeds max length")
            assert value == value if kind == "DOUBLE" else True, "no NaN"

    def _passing(self, name, condition):
        held = self.held[name]
        assert held.loaded
        found = []
        for row in held.rows.values():
            asked = set(re.findall(r"\btime\b", re.sub(r'"(\\.|[^"\\])*"', '""', condition)))
            known = not (asked and row["time"] is None)
            if known and (not condition or eval(condition, {"__builtins__": {}}, row)):
                found.append(row)
        return sorted(found, key=lambda row: row["id"])

    def query(self, name, filter, output_fields, timeout, limit=None):
        found = self._passing(name, filter)
        if output_fields == ["count(*)"]:
            return [{"count(*)": len(found)}]
        return [{field: row[field] for field in output_fields} for row in found[:limit]]

    def delete(self, name, filter, timeout):
        for row in self._passing(name, filter):
            del self.held[name].rows[row["id"]]

    def search(self, name, data, limit, filter, search_params, output_fields, timeout):
        held = self.held[name]
        assert bool(search_params["params"]) == (held.index == "HNSW")
        found = self._passing(name, filter)
        answers = []
        for query in data:
            scores = np.array([row["vector"] @ query for row in found])
            order = np.argsort(-scores, kind="stable")[:limit]
            entities = [{field: found[i][field] for field in output_fields} for i in order]
            hits = zip(order, entities, strict=True)
            answers.append([{"id": found[i]["id"], "distance": scores[i], "entity": entity} for i, entity in hits])
        return answers

    def flush(self, name, timeout):
        self.held[name].asked.append("flush")

    def compact(self, name, timeout):
        self.held[name].asked.append("compact")
