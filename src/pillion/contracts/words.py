"""The few words in which a driver may say no. Each tells the caller's next move; vendor exceptions never pass."""


class DriverError(Exception):
    """The root of every word; its text is shown to the app after the service's own phrase."""


class Unavailable(DriverError):
    """The server did not answer or is overloaded: trying again may help."""


class Refused(DriverError):
    """The server understood and said no (credentials, limits, malformed input): trying again will not help."""


class Unsupported(DriverError):
    """The driver never claimed this ability."""


class EtagMismatch(DriverError):
    """The precondition did not hold; nothing was written."""


class EtagInvalid(DriverError):
    """The etag is not one this store could have given out."""
