"""Units of one dimension as one scale (5 kg beside 300 g, 2 years beside 3 weeks), and currencies, of which none is worth another."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_NAMES: dict[str, dict[float, str]] = {
    "mass": {1e-6: "mg 毫克", 1e-3: "g gr gram grams gramm 克", 1: "kg kgs kilo kilos kilogram kilograms 千克 公斤", 0.5: "斤 市斤",
             1e3: "t ton tons tonne tonnes tonnen 吨", 0.45359237: "lb lbs pound pounds 磅", 0.0283495231: "oz ounce ounces 盎司"},
    "length": {1e-3: "mm 毫米", 1e-2: "cm 厘米", 1: "m meter meters metre metres 米", 1e3: "km kms kilometer kilometers 千米 公里",
               0.0254: "in inch inches 英寸", 0.3048: "ft foot feet 英尺", 0.9144: "yd yard yards", 1609.344: "mi mile miles 英里"},
    "time": {1e-6 / 86400: "us µs μs", 1e-3 / 86400: "ms msec 毫秒", 1 / 86400: "s sec secs second seconds 秒",
             1 / 1440: "min mins minute minutes minuten 分 分钟",
             1 / 24: "h hr hrs hour hours std stunde stunden 小时", 1: "d day days tag tage 天 日",
             7: "w wk wks week weeks woche wochen 周 星期", 30.4375: "mo mos month months monat monate 月 个月",
             365.25: "y yr yrs year years jahr jahre 年 岁"},
    "area": {1: "m² sqm qm ㎡ 平方米 平米", 1e4: "ha hectare hectares 公顷", 0.09290304: "sqft ft²", 4046.8564: "ac acre acres",
             1e6: "km² 平方公里", 2000 / 3: "亩"},
    "volume": {1e-3: "ml 毫升", 1e-2: "cl", 0.1: "dl", 1: "l lt ltr liter liters litre litres 升", 3.78541178: "gal gallon gallons",
               1e3: "m³ cbm 立方米"},
    "data": {1: "b byte bytes", 2**10: "kb kib", 2**20: "mb mib", 2**30: "gb gib", 2**40: "tb tib"},
    "speed": {1: "km/h kmh kph", 1.609344: "mph", 3.6: "m/s", 1.852: "kn kt kts knots"},
    "power": {1: "W", 1e3: "kW", 1e6: "MW", 1e9: "GW"}, "energy": {1e-3: "Wh", 1: "kWh", 1e3: "MWh", 1e6: "GWh"},
    "frequency": {1: "Hz", 1e3: "kHz", 1e6: "MHz", 1e9: "GHz"},
}  # fmt: skip
_PAID = {1: "year yr annum", 12: "month mo", 52: "week wk", 260: "day", 2080: "hour hr h"}
"""Pay and prices for a time, by the working time of a year."""
UNITS = {name: (dimension, factor) for dimension, scale in _NAMES.items() for factor, names in scale.items() for name in names.split()} | {
    form + name: ("pay", float(factor))
    for factor, names in _PAID.items()
    for name in names.split()
    for form in ("a ", "an ", "per ", "/", "/ ")
}
"""What each unit measures, and how many of its dimension's first one it is."""
_MONEY = {"$": "$ us$ usd", "€": "€ eur", "£": "£ gbp", "¥": "¥ cn¥ cny rmb jpy 円 元 块 人民币", "₹": "₹ inr rs.", "₽": "₽ rub",
          "₩": "₩ krw", "CHF": "chf", "kr": "sek nok dkk kr", "zł": "zł pln", "R$": "r$ brl", "A$": "a$ aud", "C$": "c$ cad",
          "HK$": "hk$ hkd", "NT$": "nt$ twd", "S$": "s$ sgd", "₺": "₺", "฿": "฿ thb", "₫": "₫ vnd", "₪": "₪ ils"}  # fmt: skip
MONEY = {name: sign for sign, names in _MONEY.items() for name in names.split()}
SIGNS = "|".join(map(re.escape, sorted(MONEY, key=len, reverse=True)))
SHARE, NEARLY_ALL, MOST = 0.01, 0.95, 12
"""Of the cells, from which a unit is one of several; of which all must be numbers with one; and units at most."""


def of(name: str) -> tuple[str, float] | None:
    name = name.removesuffix(" ago").removesuffix(" old").removesuffix("前").lstrip("+ ")
    return UNITS.get(name) or UNITS.get(name.lower())


def common(names: list[str], counts: np.ndarray, least: float) -> str:
    """The most frequent unit where `least` of what stands behind numbers are units of its dimension; empty where they are not.

    Hours and minutes alone are read as hours whatever stands beside them.
    """
    known = [of(name) for name in names]
    dimensions = {one[0] for one in known if one}
    for dimension in dimensions:
        inside = np.array([one is not None and one[0] == dimension for one in known])
        short = dimension == "time" and all(one[1] in (1 / 24, 1 / 1440) for one in known if one and one[0] == dimension)
        if inside.sum() > 1 and counts[inside].sum() >= least and not short:
            return names[int(np.flatnonzero(inside)[counts[inside].argmax()])]
    return ""


def bare(text: pa.ChunkedArray, unit: str) -> tuple[pa.ChunkedArray, np.ndarray]:
    """Cells without the unit, or another of its dimension, and how many of it each number is meant."""
    times, own = np.ones(len(text)), of(unit)
    if not own:
        return pc.replace_substring_regex(text, rf"\s*{re.escape(unit)}$", ""), times
    found = pc.extract_regex(text, r"^(?P<number>.*\d)\s*(?P<unit>[^\d\s].*)$")
    names = pc.struct_field(found, "unit")
    for name in pc.unique(pc.drop_null(names)).to_pylist():
        other = own if name == unit else of(name)
        if other and other[0] == own[0]:
            here = pc.fill_null(pc.equal(names, name), False)
            times[np.asarray(here)] = other[1] / own[1]
            text = pc.if_else(here, pc.struct_field(found, "number"), text)
    return text, times


def others(text: pa.ChunkedArray, unit: str) -> list[str]:
    """The unit and, where cells are in others of its dimension, these; empty where they are not."""
    if not (own := of(unit)):
        return []
    found = pc.struct_field(pc.extract_regex(text, r"\d\s*(?P<unit>[^\d\s].*)$"), "unit")
    met = [name for name in pc.unique(pc.drop_null(found)).to_pylist() if (one := of(name)) and one[0] == own[0] and one[1] != own[1]]
    return [unit, *met] if met else []


def unlike(text: pa.ChunkedArray) -> list[str]:
    """What stands behind the numbers of cells that are a number and a unit each, where there are several; empty for other cells."""
    cells = pc.drop_null(text)
    found = pc.drop_null(pc.struct_field(pc.extract_regex(cells, r"^\W{0,3}\d[\d.,]*\s*(?P<unit>[^\d\s.,][^\d.,]{1,11})$"), "unit"))
    counted = pc.value_counts(found)
    names = [name for name, count in zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)
             if count >= SHARE * len(cells)]  # fmt: skip
    return names if len(found) >= NEARLY_ALL * len(cells) and 1 < len(names) <= MOST else []


def currencies(text: pa.ChunkedArray) -> list[str]:
    """The currencies that amounts are in, where there are several."""
    signs = pc.drop_null(pc.struct_field(pc.extract_regex(text, f"(?i)(?P<sign>{SIGNS})"), "sign"))
    counted = pc.value_counts(pc.utf8_lower(signs))
    met: dict[str, int] = {}
    for name, count in zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True):
        met[MONEY[name]] = met.get(MONEY[name], 0) + count
    found = [sign for sign, count in sorted(met.items(), key=lambda one: -one[1]) if count >= SHARE * len(text)]
    return found if len(found) > 1 else []
