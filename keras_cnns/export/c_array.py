"""C++ sources that hold a TFLite file.

They are for devices without a file system. Standard library only.
"""

import re

HEADER = """\
// {name}: TensorFlow Lite model of {length} bytes, written by keras_cnns.
#ifndef {guard}
#define {guard}

#ifdef __cplusplus
extern "C" {{
#endif
extern const unsigned char {array}[];
extern const unsigned int {array}_len;
#ifdef __cplusplus
}}
#endif

#endif  // {guard}
"""
SOURCE = """\
#include "{name}.h"

// TensorFlow Lite Micro reads the model in place and needs it aligned
alignas(16) const unsigned char {array}[] = {{
{rows}
}};
const unsigned int {array}_len = {length};
"""


def c_sources(content: bytes, name: str) -> dict[str, str]:
    """Return a C++ source and its header that hold a file.

    Args:
        content: the file's bytes.
        name: the name of source and header, before the suffix. The array has the same name, with an underscore for
            each character that C does not allow, and with "model_" before a leading digit.

    Returns:
        {"NAME.cc": text, "NAME.h": text}. The array is `NAME`, its length in bytes `NAME_len`.
    """
    array = re.sub(r"\W", "_", name, flags=re.ASCII)
    array = f"model_{array}" if array[:1].isdigit() else array
    rows = ",\n".join(
        "    " + ", ".join(f"0x{byte:02x}" for byte in content[k : k + 16]) for k in range(0, len(content), 16)
    )
    values = {"name": name, "array": array, "guard": f"{array.upper()}_H_", "length": len(content), "rows": rows}
    return {f"{name}.cc": SOURCE.format(**values), f"{name}.h": HEADER.format(**values)}
