"""The messages of gRPC hooks, made at run time out of `proto/hook.proto`.

So there is no generated code that has to fit a version of protobuf, and none that an application's own code for the
same interface could clash with.
"""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from tusd_py.core.hook_events import HookAnswer, HookCall, HookFailure, HttpResponse
from tusd_py.core.hook_json import checked_status, encode_call

METHOD = "/proto.HookHandler/InvokeHook"
_PACKAGE = "proto"

_MESSAGE = re.compile(r"^message (\w+) \{$(.*?)^\}$", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^  (repeated )?(map<string, string>|\w+) (\w+) = (\d+);", re.MULTILINE)
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {"string": _Field.TYPE_STRING, "int64": _Field.TYPE_INT64, "bool": _Field.TYPE_BOOL}


def interface() -> descriptor_pb2.FileDescriptorProto:
    """What a compiler would make of the messages in `proto/hook.proto`, of which it reads as much as that file uses."""
    text = resources.files("tusd_py.hooks").joinpath("proto/hook.proto").read_text("utf-8")
    file = descriptor_pb2.FileDescriptorProto(name="hook.proto", package=_PACKAGE, syntax="proto3")
    for name, body in _MESSAGE.findall(text):
        message = file.message_type.add(name=name)
        for repeated, kind, field_name, number in _FIELD.findall(body):
            field = message.field.add(name=field_name, number=int(number), json_name=field_name)
            field.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            if kind in _SCALARS:
                field.type = _SCALARS[kind]
            elif kind.startswith("map"):
                entry = _add_map_entry(message, field_name)
                field.type, field.label = _Field.TYPE_MESSAGE, _Field.LABEL_REPEATED
                field.type_name = f".{_PACKAGE}.{name}.{entry}"
            else:
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    return file


def _add_map_entry(message: descriptor_pb2.DescriptorProto, field_name: str) -> str:
    """A map is a list of messages of a kind of its own (protobuf, "Maps")."""
    entry = message.nested_type.add(name=f"{field_name[0].upper()}{field_name[1:]}Entry")
    entry.options.map_entry = True
    for number, name in enumerate(("key", "value"), start=1):
        text = entry.field.add(name=name, number=number, json_name=name)
        text.type, text.label = _Field.TYPE_STRING, _Field.LABEL_OPTIONAL
    return entry.name


_pool = descriptor_pool.DescriptorPool()
_pool.Add(interface())
_HookRequest: Any = message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.HookRequest"))
_HookResponse: Any = message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.HookResponse"))


def encode_request(call: HookCall) -> bytes:
    document = json.loads(encode_call(call))
    event = document["Event"]
    upload, request = event["Upload"], event["HTTPRequest"]
    message: dict[str, Any] = {
        "upload": {
            "id": upload["ID"],
            "size": upload["Size"],
            "sizeIsDeferred": upload["SizeIsDeferred"],
            "offset": upload["Offset"],
            "metaData": upload["MetaData"],
            "isPartial": upload["IsPartial"],
            "isFinal": upload["IsFinal"],
            "partialUploads": upload["PartialUploads"] or [],
            "storage": upload["Storage"] or {},
        },
        "httpRequest": {
            "method": request["Method"],
            "uri": request["URI"],
            "remoteAddr": request["RemoteAddr"],
            "header": {name: values[0] for name, values in request["Header"].items() if values},
        },
    }
    if "Access" in event:
        message["access"] = {"mode": event["Access"]["Mode"], "ids": event["Access"]["IDs"]}
    if "File" in event:
        message["file"] = json.dumps(event["File"], ensure_ascii=False)
    encoded: bytes = _HookRequest(type=document["Type"], event=message).SerializeToString()
    return encoded


def decode_response(text: bytes) -> HookAnswer:
    """In proto3 an empty map is the same as none, so metadata can be changed but not cleared."""
    try:
        message = _HookResponse.FromString(text)
    except DecodeError as error:
        raise HookFailure(f"failed to parse hook response: {error}", was_received=True) from error
    response, changes = message.httpResponse, message.changeFileInfo
    return HookAnswer(
        response=HttpResponse(checked_status(response.statusCode), response.body, dict(response.header)),
        reject_upload=message.rejectUpload,
        reject_termination=message.rejectTermination,
        reject_access=message.rejectAccess,
        stop_upload=message.stopUpload,
        change_id=changes.id,
        change_metadata=dict(changes.metaData) or None,
        change_path=changes.storage.get("Path", ""),
        cache_seconds=float(message.cacheSeconds),
    )
