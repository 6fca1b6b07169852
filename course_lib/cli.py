"""The `course` command: what users and lecturers run. One function for each command, importing what it needs itself."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from course_lib.errors import CourseError

app = typer.Typer(
    help="The course on vision-language models: run lessons, check the machine, practise, grade.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Number = Annotated[str, typer.Argument(metavar="NN", help="the lesson's number, such as 06")]
OptionalNumber = Annotated[str | None, typer.Argument(metavar="[NN]", help="one lesson only, such as 06")]


@app.command()
def lessons() -> None:
    """List the lessons: which exist, and how long each takes to run."""
    from course_lib.authoring.lessons import lessons, minutes, root_folder

    for lesson in lessons():
        took = minutes(root_folder() / "notebooks" / f"{lesson.stem}.ipynb")
        state = f"{took} min on two CPU cores" if took else "not built yet" if lesson.exists else "planned"
        print(f"{lesson.number}  {lesson.title:<48} {state}")


@app.command()
def run(number: Number) -> None:
    """Execute a lesson without a browser, print its results, write the executed copy to build/."""
    from course_lib.authoring.lessons import find_lesson, root_folder

    lesson = find_lesson(number)
    from course_lib.authoring.notebooks import run

    print(f"Lesson {lesson.number}: {lesson.title}", flush=True)
    copy = run(lesson, say=lambda text: print(text, flush=True))
    print(f"\nwritten: {copy.relative_to(root_folder())}")


@app.command()
def doctor() -> None:
    """Show what is installed beside Colab's versions, the device, and whether the embedded files are whole."""
    from course_lib.authoring.doctor import main

    raise typer.Exit(main())


@app.command()
def parity() -> None:
    """Show every system, the reference it matches, and the largest absolute difference between them."""
    from course_lib.authoring.parity.table import main

    main()


@app.command()
def mutants(number: OptionalNumber = None) -> None:
    """Show, for each exercise, how many wrong answers its check catches and how many right ones it accepts."""
    from course_lib.practice.mutation import main

    main(number)


@app.command()
def grade(
    files: Annotated[list[Path], typer.Argument(help="submitted notebooks, or folders of them")],
    lesson: Annotated[str, typer.Option(help="the lesson whose exercises they answer, such as 06")],
    out: Annotated[Path, typer.Option(help="the table of marks to write (CSV)")],
    resume: Annotated[bool, typer.Option("--resume", help="keep the rows that the table already has")] = False,
    unsafe_mode: Annotated[str | None, typer.Option(help="a weaker protection to make do with, by its name")] = None,
) -> None:
    """Grade submitted notebooks that nobody trusts, one row for each."""
    from course_lib.practice.grader.grade import main

    raise typer.Exit(main(files, lesson=lesson, out=out, resume=resume, unsafe_mode=unsafe_mode))


@app.command()
def quiz(number: OptionalNumber = None) -> None:
    """Drill the interview questions in the terminal, with spaced repetition."""
    from course_lib.practice.quiz import main

    main(number)


@app.command()
def anki(
    number: OptionalNumber = None,
    out: Annotated[Path, typer.Option(help="the deck to write")] = Path("course.apkg"),
) -> None:
    """Write the interview questions as an Anki deck."""
    from course_lib.practice.anki import main

    main(number, out)


@app.command()
def release(folder: Annotated[Path, typer.Argument(help="an empty or new folder")]) -> None:
    """Write what a class receives: notebooks, exercises, package and data, no solutions, no held-back cases."""
    from course_lib.authoring.release import main

    main(folder)


@app.command()
def gradescope(
    number: Number,
    out: Annotated[Path | None, typer.Option(help="the zip to write")] = None,
) -> None:
    """Write an autograder zip for Gradescope."""
    from course_lib.practice.grader.gradescope import main

    main(number, out)


def main() -> None:
    """Runs the command line. What the user can put right is one sentence on stderr, with exit status 2."""
    try:
        app()
    except CourseError as error:
        sys.exit(_said(f"{type(error).__name__}: {error}"))
    except ModuleNotFoundError as error:
        if not error.name or error.name.split(".")[0] == "course_lib":
            raise
        sys.exit(_said(f"this command needs the package {error.name}: pip install 'vlm-course[lab,test,teach]'"))


def _said(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return 2
