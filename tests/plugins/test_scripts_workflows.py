"""Steps in a hub: deadlines cut a call off, rights are asked for before a step, a template names what is missing."""

from __future__ import annotations

from pathlib import Path

from script_house import script_house

TEMPLATE = """
remember("tea at four") as "day"
plugin "evening mail":
  memory:
    retrieve:
      from: day
      filter: "tea" in content
    store:
      into: letters
  ai:
    output: letter
    GOAL
  actions:
    - print("sending")
"""


async def test_steps_and_templates_in_a_hub(tmp_path: Path) -> None:
    async with script_house(tmp_path) as house:
        late = await house.error('workflow:\n  steps:\n    - sleep(30, "seconds") timeout=0.2 retry=1\n')
        assert late["type"] == "Timeout"
        assert late["message"].startswith("step 'sleep': ")
        assert late["line"] == 3

        denied = await house.error('workflow:\n  steps:\n    - print("x") requires=["fs.write"]\n')
        assert denied["message"] == "step 'print': missing capability: fs.write"
        assert denied["data"]["capability"] == "fs.write"

        made = await house.result(
            'workflow:\n  input: "cup"\n  output: id\n  steps:\n    - remember(["cup"]) requires=["memory.write"]\n'
            "    - get_memory as entry timeout=10\nsetTimeout(() => remember(entry.id), 20)\nreturn entry.content"
        )
        assert made == ["cup"]

        row = await house.submit(TEMPLATE.replace("GOAL", 'goal: "write a letter"'))
        ended = await house.ended(row)
        assert ended["error"]["message"] == "ai.verb is not available: no loaded plugin provides the service 'ai'"
        assert await house.history(row, "job.output") == []

        kept = await house.result(TEMPLATE.replace("GOAL", ""))
        assert [entry["content"] for entry in kept] == ["tea at four", "tea at four"]
        letters = await house.result('return search_memory({ collection: "letters" }).length')
        assert letters == 1
