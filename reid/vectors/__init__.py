"""Vectors of many pictures on disk: made from folders, lists, archives and videos, searched, cleared of a person.

rows      what is known of a picture      sources   where pictures come from     video   crops by their boxes
store     the folder of shards            embed     from a source to a store

Nothing here imports torch: an ONNX export embeds and searches without it.
"""
