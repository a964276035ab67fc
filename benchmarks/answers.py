"""How often the line with the answer is in the prompt, and what is said when the folder does not answer.

    python benchmarks/answers.py [--folder DIR --questions benchmarks/questions.json] [--budget 10000] [--verbose]
        [--embedding-dir MODEL]

Without `--folder` a folder is written for the purpose: reports full of sentences of the same kind, a few of them with the
answers (gold lines), copies and outdated versions. Each question is asked without naming documents, through the gateway, of a
client whose scripted model writes the queries that stand beside the question. The paraphrases ask for each line as somebody would who
has not read it, in other words than its own; none was left out or changed after it had been tried. A gold line counts as shown when all of it is in
the prompt with the passages. Baselines over the same folder: the first 5,000 characters of each document, the same share of the
budget for each document, and the best passages of one keyword search. At the end the same questions without a model, for what
is answered and what is not. Tokens are estimates, the same for all ways.
With a local model (`model.onnx` and `tokenizer.json` in MODEL) the folder is searched by meaning, too, from when all passages are
embedded. One more way then is a model that writes no queries: what is found by the question alone.
"""

import argparse
import asyncio
import json
import random
import tempfile
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from fastmcp import Client
from fastmcp.client.logging import LogMessage
from mcp_types import CreateMessageRequestParams, CreateMessageResult, SamplingMessage, TextContent

from research_gateway import build_gateway
from research_reasoning.evidence.selection import select
from research_shared.logs import configure_logging
from research_shared.reading.library import Library
from research_shared.settings import Settings
from research_shared.text.tokens import estimate_tokens

FIRST_CHARACTERS = 5_000
"""What the specification shows of each document."""
SECTIONS, SENTENCES = 24, 9
"""Of each generated report."""

REPORTS = (
    "harbour cranes", "school canteens", "night buses", "city trees", "hospital linen", "parcel lockers",
    "water meters", "solar roofs", "court archives", "bicycle lanes", "museum tickets", "grain silos",
)  # fmt: skip
FILLER = (
    "The {thing} of the {place} were looked at by two teams in {month}, and both of them wrote down what they saw.",
    "In the {place}, most people who work with {thing} said that the {month} figures were in line with those of the year before.",
    "No change of the {thing} is planned before {month}, because the {place} waits for a decision of the council.",
    "The table for the {place} lists the {thing} by age, by size and by the date of their last inspection in {month}.",
    "A survey among {number} users of the {thing} in the {place} found that {number} of them were content.",
    "The {place} spent {number} euros on the {thing} in {month}, which is less than the plan allowed.",
)
PLACES = ("north district", "old town", "eastern suburb", "river quarter", "station area", "southern valley")
MONTHS = ("January", "March", "April", "June", "September", "November")


@dataclass(frozen=True)
class Fact:
    """A gold line in the report on a thing, and questions that it answers, with the queries that a model writes for them."""

    report: str
    line: str
    direct: str
    paraphrases: tuple[str, ...]
    queries: tuple[str, ...]
    german: str


FACTS = (
    Fact("harbour cranes", "Crane 7 lifts at most 42 tonnes since its gearbox was replaced in 2021.",
         "How many tonnes does crane 7 lift since its gearbox was replaced?",
         ("What is the heaviest load the seventh hoisting machine can carry after the repair of its transmission?",
          "What is the greatest weight that may hang on the hook at the port?",
          "How did the new transmission change what the dockside hoist may carry?"),
         ("crane 7 lifts tonnes", "gearbox replaced crane"), "Wie schwer darf die Last von Kran 7 nach dem Tausch des Getriebes sein?"),
    Fact("harbour cranes", "Operators must stop all lifting when gusts exceed 72 kilometres per hour.",
         "At which gusts must operators stop lifting?",
         ("When does strong wind force the staff to halt work?",
          "In what weather does work at the port have to be interrupted?",
          "How stormy may it get before loads must stay on the ground?"),
         ("operators stop lifting gusts", "wind speed limit kilometres per hour"), "Ab welcher Windstärke muss die Arbeit unterbrochen werden?"),
    Fact("school canteens", "Vegetarian lunches made up 38 percent of all meals served in the pilot schools.",
         "Which percent of meals in the pilot schools were vegetarian lunches?",
         ("How popular was food without meat at the institutions that took part in the trial?",
          "How many pupils in the trial ate meatless dishes?",
          "Which part of the food on offer went to people who avoid meat?"),
         ("vegetarian lunches percent meals", "pilot schools meals served"), "Wie hoch war der Anteil fleischloser Gerichte in den Versuchsschulen?"),
    Fact("school canteens", "Food waste fell from 95 to 61 grams per child after portions could be chosen.",
         "How many grams per child did food waste fall to after portions could be chosen?",
         ("By how much did leftovers shrink once pupils decided how much they got?",
          "Does it help against throwing things in the bin if youngsters take as much as they like?",
          "How much uneaten lunch ends up in the rubbish since kids pick the size of their serving?"),
         ("food waste grams per child", "portions chosen waste"), "Wie viel weniger Essen wurde weggeworfen, seit Kinder ihre Menge bestimmen?"),
    Fact("night buses", "Line N12 runs every 25 minutes on Saturdays and not at all on Mondays.",
         "How often does line N12 run on Saturdays?",
         ("What is the weekend interval of the twelfth late service?",
          "On which day is there no late service at all?",
          "How long does one wait for public transport after a party at the weekend?"),
         ("N12 runs every minutes Saturdays", "night bus line interval"), "In welchem Takt fährt die Linie N12 am Wochenende?"),
    Fact("night buses", "Drivers of night shifts receive a supplement of 4.80 euros for each hour after midnight.",
         "Which supplement do drivers of night shifts receive for each hour after midnight?",
         ("How much extra pay do the people behind the wheel earn late at night?",
          "What bonus compensates employees for working while others sleep?",
          "How much more do chauffeurs get paid in the small hours?"),
         ("drivers night shifts supplement euros hour", "extra pay after midnight"), "Welchen Zuschlag bekommen die Fahrer nachts?"),
    Fact("city trees", "Plane trees survived the drought of 2022 best, with losses of only 3 percent.",
         "Which losses did plane trees have in the drought of 2022?",
         ("Which species coped with the dry summer most successfully?",
          "What should a town plant if it expects hot years without rain?",
          "Which kind of wood suffered least from the lack of rain?"),
         ("trees survived drought losses percent", "plane trees drought"), "Welche Baumart kam mit der Trockenheit am besten zurecht?"),
    Fact("city trees", "A new tree is watered with 80 litres twice a week during its first three summers.",
         "With how many litres is a new tree watered during its first summers?",
         ("How is a young plant kept alive in its early years?",
          "How much does a freshly planted sapling need to drink?",
          "How often must gardeners give moisture to what they planted recently?"),
         ("new tree watered litres week", "watering young trees summers"), "Wie viel Wasser bekommt ein junger Baum?"),
    Fact("hospital linen", "Sheets are washed at 71 degrees for 25 minutes to meet the hygiene rule.",
         "At how many degrees are sheets washed to meet the hygiene rule?",
         ("What temperature keeps the bedding free of germs?",
          "How hot is the laundry done to kill bacteria?",
          "How long does the cleaning of patients' bedclothes take?"),
         ("sheets washed degrees minutes hygiene", "laundry temperature"), "Bei welcher Temperatur wird die Bettwäsche gereinigt?"),
    Fact("hospital linen", "RFID tags reduced the loss of gowns from 11 to 2 percent within a year.",
         "By how much did RFID tags reduce the loss of gowns?",
         ("What effect did electronic labels have on missing clothing?",
          "Did tracking chips keep garments from disappearing?",
          "How many surgical robes vanish now that they carry transponders?"),
         ("RFID tags loss of gowns percent", "tags reduced loss"), "Was brachten die Funketiketten gegen den Schwund von Kitteln?"),
    Fact("parcel lockers", "A parcel stays in its locker for 7 days before it is sent back to the shop.",
         "How many days does a parcel stay in its locker before it is sent back?",
         ("What happens with a delivery that nobody picks up, and when?",
          "When is a package returned to its sender if the customer does not come?",
          "How long can I leave my shipment in the box?"),
         ("parcel stays locker days sent back", "return uncollected parcel"), "Wie lange wartet ein Paket auf seine Abholung?"),
    Fact("water meters", "The radio modules transmit once every 6 hours and their batteries last 12 years.",
         "How often do the radio modules transmit and how long do their batteries last?",
         ("How durable is the power supply of the wireless readout units?",
          "When do the cells in the wireless sensors have to be exchanged?",
          "How frequently do the devices send their values?"),
         ("radio modules transmit batteries last years", "meter battery life"), "Wie lange halten die Batterien der Funkmodule?"),
    Fact("solar roofs", "The school roof in Elm Street yields 940 kilowatt hours per kilowatt peak a year.",
         "How many kilowatt hours does the school roof in Elm Street yield?",
         ("What is the annual output of the panels on the teaching building?",
          "How much electricity does the installation on the pupils' building generate?",
          "How productive are the photovoltaics above the classrooms?"),
         ("school roof Elm Street yields kilowatt hours", "annual yield roof"), "Welchen Ertrag bringt das Schuldach in der Elm Street?"),
    Fact("court archives", "Files of civil cases are destroyed after 30 years unless a historian objects.",
         "After how many years are files of civil cases destroyed?",
         ("How long must documents of private lawsuits be preserved?",
          "When are old lawsuit papers shredded?",
          "Who can prevent that ancient legal documents are thrown away?"),
         ("files civil cases destroyed years", "retention period files"), "Wie lange werden Akten aus Zivilsachen aufbewahrt?"),
    Fact("bicycle lanes", "Accidents at the Mill Bridge crossing dropped by 44 percent after the lane was painted red.",
         "By how many percent did accidents at the Mill Bridge crossing drop?",
         ("What did colouring the path do for safety at the junction near the river mill?",
          "Are cyclists hurt less often where the asphalt has a bright colour?",
          "How many fewer collisions happened at the intersection once the surface was coloured?"),
         ("accidents Mill Bridge crossing dropped percent", "lane painted red accidents"), "Wie wirkte sich die rote Farbe auf die Unfälle an der Mühlbrücke aus?"),
    Fact("museum tickets", "Free entry on the first Sunday of the month doubled visits of families to 1,260.",
         "To how many did free entry on the first Sunday double visits of families?",
         ("What was the consequence of not charging parents with children once a month?",
          "Do more mums and dads bring their kids when admission costs nothing?",
          "How many households came on the day without charge?"),
         ("free entry first Sunday families visits", "visits doubled free entry"), "Was bewirkte der kostenlose Eintritt am Monatsanfang?"),
)  # fmt: skip

STALE = (
    ("grain silos", "The fumigation of a silo takes {} days and costs {} euros.", "How many days does the fumigation of a silo take?"),
    ("grain silos", "The moisture limit for stored wheat is {} percent, {} percent for rye.", "What is the moisture limit for stored wheat?"),
    ("museum tickets", "The annual pass costs {} euros for adults and {} euros for students.", "What does the annual pass cost for adults?"),
    ("solar roofs", "The feed-in tariff is {} cents for the first {} kilowatts.", "What is the feed-in tariff for the first kilowatts?"),
)  # fmt: skip
"""Lines that an outdated version of a report has with other numbers: both belong into the prompt."""

UNANSWERABLE = (
    "What is the boiling point of the hydraulic oil in crane 7?",
    "Which chef won the national cooking award of the school canteens?",
    "How many penguins ride the night buses in winter?",
    "Who painted the portrait of the mayor beneath the city trees?",
    "Which detergent brand does the hospital linen contract forbid in Norway?",
    "What is the password of the parcel lockers at the airport?",
    "Which satellite relays the readings of the water meters to Brazil?",
    "How much did the judge of the court archives pay for a yacht?",
    "Which cyclist won the medal on the bicycle lanes in Tokyo?",
    "What does a telescope in the museum reveal about Jupiter's moons?",
    "Which vaccine was tested on mice in the grain silos?",
    "When was the emperor's wedding on the solar roofs filmed?",
)


@dataclass(frozen=True)
class Question:
    """A question of one kind with its gold lines; none if the folder does not answer it."""

    kind: str
    text: str
    gold: tuple[str, ...]
    queries: tuple[str, ...] = ()


@dataclass
class Figures:
    """What was counted for one way of choosing."""

    shown: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    tokens: list[int] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)


def write_folder(folder: Path) -> list[Question]:
    """Write the reports, a copy and outdated versions; return the questions about them."""
    random_ = random.Random(16)
    for report in REPORTS:
        facts = [fact.line for fact in FACTS if fact.report == report]
        stale = [line for about, line, _ in STALE if about == report]
        newest = report_text(
            report, [*facts, *(line.format(n + 4, n + 9) for n, line in enumerate(stale))], random_
        )
        name = report.replace(" ", "-")
        (folder / f"{name}.md").write_text(newest, "utf-8")
        if stale:
            old = [*facts, *(line.format(n + 2, n + 7) for n, line in enumerate(stale))]
            (folder / f"{name}-2019.md").write_text(report_text(report, old, random_), "utf-8")
        if report == "city trees":
            (folder / "copy-of-city-trees.md").write_text(newest, "utf-8")
    questions = [
        question
        for fact in FACTS
        for question in (
            Question("direct", fact.direct, (fact.line,), fact.queries),
            *(Question("paraphrased", text, (fact.line,), fact.queries) for text in fact.paraphrases),
            Question("German", fact.german, (fact.line,), fact.queries),
        )
    ]
    seen: dict[str, int] = defaultdict(int)
    for report, line, text in STALE:
        number = seen[report]
        seen[report] += 1
        gold = (line.format(number + 4, number + 9), line.format(number + 2, number + 7))
        questions.append(Question("two versions", text, gold))
    return questions + [Question("unanswerable", text, ()) for text in UNANSWERABLE]


def report_text(report: str, lines: Sequence[str], random_: random.Random) -> str:
    sections = []
    places = sorted(random_.sample(range(3, SECTIONS), len(lines)))
    for number in range(SECTIONS):
        said = [
            random_.choice(FILLER).format(
                thing=report,
                place=random_.choice(PLACES),
                month=random_.choice(MONTHS),
                number=random_.randint(20, 900),
            )
            for _ in range(SENTENCES)
        ]
        if number in places:
            said.insert(random_.randint(1, SENTENCES - 1), lines[places.index(number)])
        sections.append(f"## Part {number + 1}\n\n" + "\n".join(said))
    return f"# Report on {report}\n\n" + "\n\n".join(sections) + "\n"


def flat(text: str) -> str:
    return " ".join(text.split())


def holds(prompt: str, question: Question) -> bool:
    whole = flat(prompt)
    return all(flat(line) in whole for line in question.gold)


class Scripted:
    """A model that writes the queries of the current question, quotes nothing, and keeps what it was shown."""

    def __init__(self) -> None:
        self.question = Question("", "", ())
        self.passages = ""
        self.calls = 0

    async def sample(
        self, messages: list[SamplingMessage], params: CreateMessageRequestParams, _context: Any
    ) -> CreateMessageResult:
        (content,) = messages[0].content_as_list
        text = content.text if isinstance(content, TextContent) else ""
        system = params.system_prompt or ""
        self.calls += 1
        if system.startswith("Write search"):
            answer = json.dumps({"queries": self.question.queries})
        elif system.startswith("From passages"):
            self.passages = f"{system}\n{text}"
            answer = json.dumps({"relevant": False, "findings": []})
        else:
            answer = json.dumps({"answered": True, "synthesis": "Yes.", "insights": []})
        block = TextContent(type="text", text=answer)
        return CreateMessageResult(role="assistant", model="scripted", content=block, stop_reason="endTurn")


async def quiet(_message: LogMessage) -> None:
    """Receive log lines, and print none."""


Way = Callable[[Question], Awaitable[tuple[str, int]]]
"""Gives what a model would be shown for a question, and how many calls that takes."""


async def measured(name: str, way: Way, questions: Sequence[Question], *, verbose: bool) -> Figures:
    figures = Figures()
    for question in questions:
        if not question.gold:
            continue
        prompt, calls = await way(question)
        shown = holds(prompt, question)
        figures.shown[question.kind].append(shown)
        figures.tokens.append(estimate_tokens(prompt))
        figures.calls.append(calls)
        if verbose and not shown:
            print(f"  {name}: not shown: {question.text}")
    return figures


async def all_embedded(client: Client[Any]) -> int:
    """Wait until all passages are embedded; return how many these are."""
    while True:
        found = await client.call_tool(
            "search_documents", {"query": "anything", "mode": "hybrid", "limit": 1}
        )
        embedded = (found.structured_content or {}).get("embedded")
        if embedded and embedded["done"] == embedded["total"]:
            return int(embedded["total"])
        await asyncio.sleep(1)


def line(name: str, figures: Figures, kinds: Sequence[str]) -> str:
    every = [shown for some in figures.shown.values() for shown in some]
    cells = [f"{mean(figures.shown[kind]):>13.0%}" for kind in kinds]
    return (
        f"{name:<28}{mean(every):>7.0%}{''.join(cells)}{mean(figures.tokens):>9.0f}{max(figures.tokens):>9}"
        f"{mean(figures.calls):>7.1f}"
    )


async def without_model(
    folder: Path, work: Path, questions: Sequence[Question], *, meaning: dict[str, str], verbose: bool
) -> None:
    settings = Settings.load(
        {}, roots=str(folder), model_route="extractive", audit_log=str(work / "b.jsonl"), **meaning
    )
    right: dict[str, list[bool]] = defaultdict(list)
    unverified = answered = 0
    async with Client(build_gateway(settings), log_handler=quiet) as client:
        if meaning:
            await all_embedded(client)
        for question in questions:
            result = (
                await client.call_tool("synthesize_research", {"research_question": question.text})
            ).structured_content or {}
            said = flat(result["synthesis"])
            right[question.kind].append(
                any(flat(gold) in said for gold in question.gold) if question.gold else not result["answered"]
            )
            answered += result["answered"]
            unverified += sum(not insight["verified"] for insight in result["key_insights"])
            if verbose and not question.gold and result["answered"]:
                print(f"  answered although the folder does not: {question.text}")
    print("\nwithout a model: the gold line is in the answer, or the unanswerable is not answered")
    for kind, some in right.items():
        print(f"  {kind:<14}{sum(some):>4} of {len(some)}")
    print(f"  claims without verified support: {unverified} in {answered} answers")


async def run(options: argparse.Namespace, work: Path) -> int:
    configure_logging("error")
    folder = options.folder or work / "research"
    if options.folder:
        read = json.loads(options.questions.read_text(encoding="utf-8"))
        questions = [Question("given", each["question"], tuple(each["answers"][:1])) for each in read]
    else:
        folder.mkdir()
        questions = write_folder(folder)
    kinds = list(dict.fromkeys(question.kind for question in questions if question.gold))
    model = Scripted()
    meaning: dict[str, str] = {}
    if options.embedding_dir:
        meaning = {"embedding_dir": str(options.embedding_dir), "index_dir": str(work / "index")}
    settings = Settings.load({}, roots=str(folder), audit_log=str(work / "a.jsonl"), **meaning)
    library = Library.from_settings(settings)
    async with library:
        texts = [await library.read(info.path) for info in await library.documents()]
        print(
            f"{len(questions)} questions, {len(texts)} documents, {sum(len(t.data) for t in texts) // 1024} KiB of text\n"
        )

        async def first(_question: Question) -> tuple[str, int]:
            return "\n".join(text.text[:FIRST_CHARACTERS] for text in texts), len(texts) + 1

        async def share(question: Question) -> tuple[str, int]:
            each = options.budget // len(texts)
            chosen = [select(text, question.text, each, estimate_tokens)[0].text for text in texts]
            return "\n".join(chosen), len(texts) + 1

        async with Client(
            build_gateway(settings), sampling_handler=model.sample, log_handler=quiet
        ) as client:
            if options.embedding_dir:
                print(f"{await all_embedded(client)} passages are embedded\n")

            async def best(question: Question) -> tuple[str, int]:
                result = await client.call_tool(
                    "search_documents",
                    {
                        "query": question.text,
                        "snippet": "passage",
                        "mode": "hybrid" if options.embedding_dir else "keyword",
                        "max_tokens": options.budget,
                        "limit": 100,
                    },
                )
                return "".join(part.text for part in result.content if isinstance(part, TextContent)), 1

            async def chosen(question: Question) -> tuple[str, int]:
                model.question, model.passages, model.calls = question, "", 0
                await client.call_tool("synthesize_research", {"research_question": question.text})
                return model.passages, model.calls

            async def unaided(question: Question) -> tuple[str, int]:
                return await chosen(Question(question.kind, question.text, question.gold))

            heads = "".join(f"{kind:>13}" for kind in kinds)
            print(f"{'gold line in the prompt':<28}{'all':>7}{heads}{'tokens':>9}{'most':>9}{'calls':>7}")
            ways: dict[str, Way] = {
                "first 5,000 characters": first,
                "a share for each document": share,
                "best passages of a search": best,
                "chosen over the folder": chosen,
            }
            if options.embedding_dir:
                ways["… without written queries"] = unaided
            results = {}
            for name, way in ways.items():
                results[name] = await measured(name, way, questions, verbose=options.verbose)
                print(line(name, results[name], kinds))
    await without_model(folder, work, questions, meaning=meaning, verbose=options.verbose)
    ours = results["chosen over the folder"]
    every = [shown for some in ours.shown.values() for shown in some]
    fine = mean(every) >= options.reach and max(ours.tokens) <= options.budget
    return 0 if fine else 1


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--questions", type=Path, default=Path(__file__).with_name("questions.json"))
    parser.add_argument("--budget", type=int, default=10_000, help="tokens of a prompt")
    parser.add_argument(
        "--reach", type=float, default=0.95, help="share of gold lines below which the status is 1"
    )
    parser.add_argument("--embedding-dir", type=Path, help="directory of a local model")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        return asyncio.run(run(options, Path(work)))


if __name__ == "__main__":
    raise SystemExit(main())
