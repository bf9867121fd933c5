"""The code and the commands on `docs/vectors.md` run as they stand."""

import re
import shlex
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "vectors.md").read_text(encoding="utf-8")


def test_commands_and_code_of_the_page(trained, tiny_world, call, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "demo").symlink_to(trained)
    (tmp_path / "people").symlink_to(tiny_world / "target" / "bounding_box_test")
    commands = [line for block in re.findall(r"```\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
    assert commands
    for line in commands:
        assert call(*shlex.split(line)[1:])
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(code, "docs/vectors.md", "exec"), {})
    assert "(51, 128) ['-1_c1s1_000000_00.jpg'" in capsys.readouterr().out
