"""A trained method as files that other programs run: graphs, a card that says how to use them, and who opens both again.

Opening an ONNX export (`model`, `runners`, `card`) needs numpy, OpenCV and onnxruntime; torch is imported by `graphs` and
`folder` alone, which write.
"""
