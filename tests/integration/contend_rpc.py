"""Messages and stubs of etcd's services for locks and elections, which python3-etcd3 lacks."""
from cluster import skip

try:
    import grpc
    from etcd3 import etcdrpc
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
except ImportError:
    skip("python3-etcd3 is not installed")

HEADER = ".etcdserverpb.ResponseHeader"
KV = ".mvccpb.KeyValue"
MESSAGES = {
    "LockRequest": [("name", "bytes"), ("lease", "int64")],
    "LockResponse": [("header", HEADER), ("key", "bytes")],
    "UnlockRequest": [("key", "bytes")],
    "UnlockResponse": [("header", HEADER)],
    "LeaderKey": [("name", "bytes"), ("key", "bytes"), ("rev", "int64"), ("lease", "int64")],
    "CampaignRequest": [("name", "bytes"), ("lease", "int64"), ("value", "bytes")],
    "CampaignResponse": [("header", HEADER), ("leader", ".contend.LeaderKey")],
    "LeaderRequest": [("name", "bytes")],
    "LeaderResponse": [("header", HEADER), ("kv", KV)],
    "ResignRequest": [("leader", ".contend.LeaderKey")],
    "ResignResponse": [("header", HEADER)],
    "ProclaimRequest": [("leader", ".contend.LeaderKey"), ("value", "bytes")],
    "ProclaimResponse": [("header", HEADER)],
}
METHODS = {"v3lockpb.Lock": [("Lock", "Lock"), ("Unlock", "Unlock")],
           "v3electionpb.Election": [("Campaign", "Campaign"), ("Proclaim", "Proclaim"),
                                     ("Leader", "Leader"), ("Resign", "Resign")]}


def make_classes():
    field = descriptor_pb2.FieldDescriptorProto
    pool = descriptor_pool.Default()
    file = descriptor_pb2.FileDescriptorProto(
        name="contend.proto", package="contend", syntax="proto3",
        dependency=[etcdrpc.ResponseHeader.DESCRIPTOR.file.name,
                    etcdrpc.RangeResponse.DESCRIPTOR.fields_by_name["kvs"].message_type.file.name])
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (key, kind) in enumerate(fields, 1):
            f = message.field.add(name=key, number=number, label=field.LABEL_OPTIONAL)
            if kind.startswith("."):
                f.type, f.type_name = field.TYPE_MESSAGE, kind
            else:
                f.type = {"bytes": field.TYPE_BYTES, "int64": field.TYPE_INT64}[kind]
    pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
    get = getattr(message_factory, "GetMessageClass", None)
    if not get:
        factory = message_factory.MessageFactory(pool)
        get = factory.GetPrototype
    return {name: get(pool.FindMessageTypeByName("contend." + name)) for name in MESSAGES}


class Contend:
    """One client: call(method, timeout, **fields) gives (answer, None) or (None, (code, text))."""

    classes = make_classes()

    def __init__(self, endpoint):
        self.channel = grpc.insecure_channel(endpoint, options=[("grpc.use_local_subchannel_pool", 1)])
        self.methods = {}
        for service, names in METHODS.items():
            for name, prefix in names:
                self.methods[name] = self.channel.unary_unary(
                    "/%s/%s" % (service, name),
                    self.classes[self.request_of(name)].SerializeToString,
                    self.classes[prefix + "Response"].FromString)
        self.observe_method = self.channel.unary_stream(
            "/v3electionpb.Election/Observe", self.classes["LeaderRequest"].SerializeToString,
            self.classes["LeaderResponse"].FromString)

    @staticmethod
    def request_of(name):
        return name + "Request"

    def begin(self, method, timeout=20, **fields):
        request = self.classes[self.request_of(method)](**fields)
        return self.methods[method].future(request, timeout=timeout)

    @staticmethod
    def end(future):
        try:
            return future.result(), None
        except grpc.RpcError as e:
            return None, (e.code().name, e.details())

    def call(self, method, timeout=20, **fields):
        return self.end(self.begin(method, timeout, **fields))

    def observe(self, name):
        return self.observe_method(self.classes["LeaderRequest"](name=name))

    def leader_key(self, **fields):
        return self.classes["LeaderKey"](**fields)
