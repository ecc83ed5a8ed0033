"""Where an app's keys lie in a store that several apps share."""

SEPARATOR = "||"


class IllegalKey(ValueError):
    """A key or prefix that holds the separator; the argument is the text itself."""


def prefix(strategy: str, *, app_id: str, namespace: str, store: str) -> str:
    """What comes before every key, separator included; decided once, when a store is mounted.

    | `keyPrefix`      | owner                                              |
    |------------------|----------------------------------------------------|
    | empty or appid   | the app                                            |
    | name             | the store                                          |
    | namespace        | `<namespace>.<app>`, the app where there is none   |
    | none             | nobody: keys are stored as they are                |
    | any other text   | that text, in lower case                           |
    """
    if SEPARATOR in strategy:
        raise IllegalKey(strategy)
    match strategy.lower():
        case "none":
            owner = ""
        case "name":
            owner = store
        case "namespace" if namespace and app_id:
            owner = f"{namespace}.{app_id}"
        case "" | "appid" | "namespace":
            owner = app_id
        case custom:
            owner = custom
    return owner + SEPARATOR if owner else ""


def stored_key(prefix: str, key: str) -> str:
    """A key in its owner's place; raises IllegalKey."""
    if SEPARATOR in key:
        raise IllegalKey(key)
    return prefix + key
