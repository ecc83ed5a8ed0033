"""The way into `pilliond`, and `python -m pillion.host`: everything is loaded before garbage is looked for."""

import gc


def main() -> None:
    """Entry point of `pilliond`."""
    gc.disable()  # modules stay; looking through them again and again takes a twentieth of a start
    from pillion.host.main import main as begin

    gc.freeze()
    gc.enable()
    begin()


if __name__ == "__main__":
    main()
