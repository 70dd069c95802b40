"""What the typed sections of a config.json are made of: fields over the dict itself (types: fields.pyi).

A `Section` holds no values. It is a view of one JSON object: what it does not know stays where it is, what is written through it is in the
dict at once, and an object that is not there yet is made by the first write into it. So reading a section costs nothing but what is read.

Measured against the alternatives in docs/architecture.md.
"""

from _collections_abc import MutableMapping, MutableSequence

from pyrt.errors import SpecError

__all__ = ["Field", "Items", "Named", "Section", "flag", "names", "number", "numbers", "one", "one_by_name", "several", "text", "texts"]

_JSON = {str: "a string", int: "a number", bool: "true or false", dict: "an object", list: "a list"}


class _Slotted(type):
    """No instance has a `__dict__`: a misspelled field is an AttributeError."""

    def __new__(cls, name, bases, namespace):
        namespace.setdefault("__slots__", ())
        return super().__new__(cls, name, bases, namespace)


class Section(metaclass=_Slotted):
    """One JSON object. Its fields are None or empty where it does not say them; None removes one."""

    __slots__ = ("_at", "_data", "_key", "_owner")
    fields = {}  # noqa: RUF012

    def __init_subclass__(cls):
        cls.fields = {name: field for name, field in vars(cls).items() if isinstance(field, Field)}

    def __init__(self, **values):
        self._at, self._data, self._owner, self._key = "", {}, None, None
        for name, value in values.items():
            if name not in self.fields:
                raise TypeError(f"{type(self).__name__} has no field {name!r}")
            setattr(self, name, value)

    @classmethod
    def over(cls, data, at=""):
        """A view of a dict. at: where it stands in the config.json."""
        self = cls.__new__(cls)
        self._at, self._data, self._owner, self._key = at, _expect(data, dict, at), None, None
        return self

    @classmethod
    def within(cls, owner, key):
        """A view of a member of another view, which need not be there yet."""
        self = cls.__new__(cls)
        self._at, self._data, self._owner, self._key = _below(owner._at, key), None, owner, key
        return self

    @property
    def data(self):
        """The dict itself; an empty one that belongs to nothing where there is none."""
        if self._owner is None:
            return self._data
        found = self._owner.data.get(self._key)
        return {} if found is None else _expect(found, dict, self._at)

    def make(self):
        """The dict itself, made where there is none."""
        if self._owner is None:
            return self._data
        held = self._owner.make()
        if held.get(self._key) is None:
            held[self._key] = {}
        return _expect(held[self._key], dict, self._at)

    @property
    def unknown(self):
        """The keys that no field has: they are kept."""
        known = {field.key for field in self.fields.values()}
        return [key for key in self.data if key not in known]

    def check(self):
        """Raise SpecError, with the JSON path, for the first value of a wrong type in it or below."""
        for field in self.fields.values():
            field.check(self)

    def __bool__(self):
        return bool(self.data)

    def __eq__(self, other):
        return self.data == other.data if type(other) is type(self) else NotImplemented

    __hash__ = None

    def __repr__(self):
        said = [(name, getattr(self, name)) for name, field in self.fields.items() if self.data.get(field.key) is not None]
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in said)})"


class Items(MutableSequence):
    """A JSON list: of strings or numbers, or of sections. It is made by the first write where there is none."""

    __slots__ = ("_at", "_key", "_kind", "_owner")

    def __init__(self, owner, key, kind):
        self._owner, self._key, self._kind, self._at = owner, key, kind, _below(owner._at, key)

    def _read(self):
        found = self._owner.data.get(self._key)
        return [] if found is None else _expect(found, list, self._at)

    def _make(self):
        held = self._owner.make()
        if held.get(self._key) is None:
            held[self._key] = []
        return _expect(held[self._key], list, self._at)

    def __len__(self):
        return len(self._read())

    def __getitem__(self, index):
        items = self._read()
        if isinstance(index, slice):
            return [_out(items[place], self._kind, f"{self._at}[{place}]") for place in range(*index.indices(len(items)))]
        return _out(items[index], self._kind, f"{self._at}[{index}]")

    def __setitem__(self, index, value):
        at = f"{self._at}[]" if isinstance(index, slice) else f"{self._at}[{index}]"
        self._make()[index] = [_in(one, self._kind, at) for one in value] if isinstance(index, slice) else _in(value, self._kind, at)

    def __delitem__(self, index):
        del self._make()[index]

    def insert(self, index, value):
        self._make().insert(index, _in(value, self._kind, f"{self._at}[{index}]"))

    def __eq__(self, other):
        return list(self) == list(other) if isinstance(other, (list, tuple, Items)) else NotImplemented

    __hash__ = None

    def __repr__(self):
        return repr(list(self))


class Named(MutableMapping):
    """A JSON object whose keys are names: of strings, or of sections. It is made by the first write where there is none."""

    __slots__ = ("_at", "_key", "_kind", "_owner")

    def __init__(self, owner, key, kind):
        self._owner, self._key, self._kind, self._at = owner, key, kind, _below(owner._at, key)

    def _read(self):
        found = self._owner.data.get(self._key)
        return {} if found is None else _expect(found, dict, self._at)

    def _make(self):
        held = self._owner.make()
        if held.get(self._key) is None:
            held[self._key] = {}
        return _expect(held[self._key], dict, self._at)

    def __len__(self):
        return len(self._read())

    def __iter__(self):
        return iter(self._read())

    def __getitem__(self, name):
        return _out(self._read()[name], self._kind, _below(self._at, name))

    def __setitem__(self, name, value):
        self._make()[_in(name, str, self._at)] = _in(value, self._kind, _below(self._at, name))

    def __delitem__(self, name):
        del self._make()[name]

    def __repr__(self):
        return repr(dict(self))


class Field:
    """A member of a section. key: its name in JSON; camelCase of the attribute's where that is not said."""

    __slots__ = ("key", "kind")

    def __init__(self, kind, key=None):
        self.kind, self.key = kind, key

    def __set_name__(self, owner, name):
        first, *rest = name.rstrip("_").split("_")
        self.key = self.key or first + "".join(word.capitalize() for word in rest)

    def __get__(self, section, kind=None):
        return self if section is None else self.read(section)

    def __set__(self, section, value):
        if value is None:
            section.data.pop(self.key, None)
        else:
            section.make()[self.key] = self.write(value, _below(section._at, self.key))

    def __delete__(self, section):
        section.data.pop(self.key, None)

    def check(self, section):
        """Each kind of field has its own way."""
        raise NotImplementedError


class _Plain(Field):
    def read(self, section):
        found = section.data.get(self.key)
        return None if found is None else _expect(found, self.kind, _below(section._at, self.key))

    def write(self, value, at):
        return _in(value, self.kind, at)

    def check(self, section):
        self.read(section)


class _One(_Plain):
    def read(self, section):
        return self.kind.within(section, self.key)

    def check(self, section):
        self.read(section).check()


class _Several(Field):
    def read(self, section):
        return Items(section, self.key, self.kind)

    def write(self, value, at):
        return [_in(one, self.kind, f"{at}[{place}]") for place, one in enumerate(value)]

    def check(self, section):
        for item in self.read(section):
            if isinstance(item, Section):
                item.check()


class _ByName(Field):
    def read(self, section):
        return Named(section, self.key, self.kind)

    def write(self, value, at):
        return {_in(name, str, at): _in(one, self.kind, _below(at, name)) for name, one in value.items()}

    def check(self, section):
        for item in self.read(section).values():
            if isinstance(item, Section):
                item.check()


def text(key=None):
    return _Plain(str, key)


def flag(key=None):
    return _Plain(bool, key)


def number(key=None):
    return _Plain(int, key)


def texts(key=None):
    return _Several(str, key)


def numbers(key=None):
    return _Several(int, key)


def names(key=None):
    return _ByName(str, key)


def one(kind, key=None):
    return _One(kind, key)


def several(kind, key=None):
    return _Several(kind, key)


def one_by_name(kind, key=None):
    return _ByName(kind, key)


def _below(at, key):
    return f"{at}.{key}" if at else key


def _fits(value, kind):
    # A bool is an int to Python, and none to JSON.
    return type(value) is kind if kind in (int, bool) else isinstance(value, kind)


def _expect(value, kind, at):
    """What was read, if it is of this kind."""
    if _fits(value, kind):
        return value
    raise SpecError(f"is not {_JSON[kind]}", json_path=at or "(file)")


def _out(value, kind, at):
    return kind.over(value, at) if kind not in _JSON else _expect(value, kind, at)


def _in(value, kind, at):
    """What is to be written, as JSON has it. Raises TypeError, as for a wrong argument."""
    if kind not in _JSON:
        if isinstance(value, kind):
            # The very dict: later changes through the one who gave it are changes of the config.
            return value.make()
        raise TypeError(f"{at} takes {kind.__name__}, not {type(value).__name__}")
    if kind is int and type(value) is not bool and isinstance(value, int):
        return int(value)
    if kind is str and isinstance(value, str):
        # An enum's member is its value.
        return str.__str__(value) if type(value) is not str else value
    if _fits(value, kind):
        return value
    raise TypeError(f"{at} takes {kind.__name__}, not {type(value).__name__}")
