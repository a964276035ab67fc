"""Write the Office files, the mail and the scan of the samples: `python docs/samples/make_office.py [DIRECTORY]`.

It needs `pip install python-docx python-pptx openpyxl pillow`, which nothing else here does. The files are what Word,
PowerPoint and Excel would save; the scan is a picture of a typed page in a PDF, without a text layer.
"""

import io
import random
import sys
import textwrap
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path

from docx import Document
from openpyxl import Workbook
from openpyxl.styles import Font
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from pptx import Presentation

SAMPLES = Path(__file__).parent.parent.parent / "gateway" / "research_gateway" / "samples"
FIRM = "Harbour & Lane"
SAVED = datetime(2026, 7, 15, 9, 0, tzinfo=UTC)


def staff_council_letter(path: Path) -> None:
    """A letter in Word, with headings, a list and a table."""
    letter = Document()
    letter.core_properties.title = "The staff council on the four-day week"
    letter.core_properties.comments = ""
    letter.core_properties.author = "Staff council of Harbour & Lane"
    letter.core_properties.created = letter.core_properties.modified = SAVED
    letter.add_heading("The staff council on the four-day week", level=0)
    letter.add_paragraph(
        "To the partners. A fictional letter for demonstration. The council asked all 105 people of the two pilot "
        "offices in the last week of the pilot; 92 answered."
    )
    letter.add_heading("What people want", level=1)
    table = letter.add_table(rows=1, cols=3)
    table.style = "Light Grid"
    rows = (
        ("Question", "Bristol", "Leeds"),
        ("Keep the four-day week", "91 percent", "64 percent"),
        ("Prefer a common day off to a staggered one", "88 percent", "79 percent"),
        ("Burned out at least once a week", "11 percent", "22 percent"),
    )
    for number, row in enumerate(rows):
        cells = table.rows[0].cells if number == 0 else table.add_row().cells
        for cell, text in zip(cells, row, strict=True):
            cell.text = text
    letter.add_heading("What has to change", level=1)
    for text in (
        "Burnout moved from the many to the few: the managers in Leeds carry the schedule of a team that is never complete.",
        "Trainees lost the hour in which they used to ask. The council asks for two hours of mentoring a week in every plan.",
        "The Friday duty rota must be voluntary, and the day off in exchange must be taken in the same week.",
    ):
        letter.add_paragraph(text, style="List Number")
    letter.save(str(path))


def board_update(path: Path) -> None:
    """Slides. The second contradicts `client-impact.md`, which measured what the slide rounds away."""
    deck = Presentation()
    deck.core_properties.title = "Four-day week: update for the board"
    deck.core_properties.comments = ""
    deck.core_properties.author = "Office of the managing partner"
    deck.core_properties.created = deck.core_properties.modified = SAVED
    slides = (
        ("Four-day week: update for the board", [FIRM + ", July. A fictional deck for demonstration."], ""),
        (
            "Clients noticed nothing",
            [
                "The median time to a first answer stayed at 3.1 hours in both pilot offices.",
                "Satisfaction with the quality of work is unchanged at 4.4 out of 5.",
                "No client left during the pilot.",
            ],
            "If asked about Fridays: say that a duty rota is planned. Do not show the Bristol figure for Friday messages.",
        ),
        (
            "People are better off",
            [
                "The burnout score fell in both pilot offices.",
                "Resignations fell from 7 to 3 in six months.",
                "Managers in Leeds spend 3.5 more hours a week on scheduling.",
            ],
            "",
        ),
        (
            "Decision asked for",
            ["Extend to twelve months with a common day off and a Friday duty rota of six people."],
            "",
        ),
    )
    for number, (title, points, notes) in enumerate(slides):
        slide = deck.slides.add_slide(deck.slide_layouts[0 if number == 0 else 1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = "\n".join(points)
        if notes:
            slide.notes_slide.notes_text_frame.text = notes
    deck.save(str(path))


def scheduling_hours(path: Path) -> None:
    """A workbook: what managers recorded month by month, with formulas and what they gave."""
    book = Workbook()
    book.properties.title = "Hours of managers on scheduling"
    book.properties.creator = "Finance"
    book.properties.created = book.properties.modified = SAVED.replace(tzinfo=None)
    sheet = book.active
    sheet.title = "Hours a week"
    sheet.append(["Month", "Bristol", "Leeds", "Aberdeen"])
    for cell in sheet[1]:
        cell.font = Font(bold=True)
    for row in (
        ("January", 2.1, 3.0, 2.2),
        ("February", 2.0, 4.8, 2.1),
        ("March", 2.0, 5.9, 2.0),
        ("April", 1.9, 6.4, 2.2),
        ("May", 2.0, 6.6, 2.1),
        ("June", 2.0, 6.3, 2.0),
        ("Mean of the pilot", 2.0, 5.5, 2.1),
    ):
        sheet.append(row)
    sheet.column_dimensions["A"].width = 20
    notes = book.create_sheet("How it was recorded")
    for text in (
        "Hours of managers on scheduling and handover, mean per manager and week, from time sheets.",
        "A fictional workbook for demonstration.",
        "Leeds counts three managers from March on; one was ill in May and her hours are estimated.",
    ):
        notes.append([text])
    book.save(path)


def client_mail(path: Path) -> None:
    """A mail of a client, with the message it answers quoted below."""
    mail = EmailMessage()
    mail["From"] = "Ines Carvalho <ines.carvalho@meridian-shipping.example>"
    mail["To"] = "Tom Ashworth <tom.ashworth@harbour-lane.example>"
    mail["Subject"] = "Re: Our offices on Fridays"
    mail["Date"] = format_datetime(datetime(2026, 4, 24, 16, 12, tzinfo=UTC))
    mail["Message-ID"] = "<20260424161200.1@meridian-shipping.example>"
    mail.set_content(
        "Dear Tom,\n\n"
        "We support the pilot, and the work is as good as ever. But our tax question of Friday 10 April was answered\n"
        "on Monday at noon, and the filing was due on Monday at nine. Please name one person whom we can reach on\n"
        "Fridays. That is all we ask for.\n\n"
        "Ines Carvalho, Meridian Shipping (a fictional client)\n\n"
        "> From February to July our Bristol office is closed on Fridays. Urgent messages are read on Monday morning.\n"
    )
    path.write_bytes(mail.as_bytes())


def scanned_agreement(path: Path) -> None:
    """One page as a scanner would give it: a grey picture, a little askew and noisy."""
    width, height = 1240, 1754  # A4 at 150 dpi
    page = Image.new("L", (width, height), 250)
    draw = ImageDraw.Draw(page)
    text = (
        "AGREEMENT ON A FRIDAY DUTY ROTA",
        "",
        "between the partners of Harbour & Lane and the staff council. A fictional agreement for demonstration.",
        "",
        "1. From 1 September six people of the Bristol office share a duty rota. Each works one Friday in six.",
        "",
        "2. Whoever is on duty takes another day off in the same week.",
        "",
        "3. The person on duty answers urgent messages of clients within four hours.",
        "",
        "4. The rota is voluntary. It ends if fewer than six people take part.",
        "",
        "Bristol, 10 July 2026",
        "",
        "signed: R. Okafor, managing partner        signed: L. Brandt, staff council",
    )
    y = 170
    for paragraph in text:
        size = 40 if paragraph.isupper() else 30
        font = ImageFont.load_default(size)
        for line in textwrap.wrap(paragraph, 62) or [""]:
            draw.text((150, y), line, fill=25, font=font)
            y += int(size * 1.5)
    page = page.rotate(0.4, fillcolor=250, resample=Image.Resampling.BICUBIC).filter(
        ImageFilter.GaussianBlur(0.6)
    )
    noise = random.Random(1)  # noqa: S311  (dust on a page)
    for _ in range(4_000):
        page.putpixel((noise.randrange(width), noise.randrange(height)), noise.randrange(150, 230))
    target = io.BytesIO()
    page.save(
        target, "PDF", resolution=150, quality=40, title="", producer="", creationDate=None, modDate=None
    )
    path.write_bytes(target.getvalue())


def main() -> None:
    """Write one file of each kind."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES
    staff_council_letter(target / "staff-council-letter.docx")
    board_update(target / "board-update.pptx")
    scheduling_hours(target / "scheduling-hours.xlsx")
    client_mail(target / "client-on-fridays.eml")
    scanned_agreement(target / "duty-rota-agreement.pdf")


if __name__ == "__main__":
    main()
