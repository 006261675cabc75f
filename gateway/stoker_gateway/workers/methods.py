"""What a gateway calls of a worker."""

from stoker.worker.v1 import worker_pb2 as pb
from stoker_gateway.rpc.call import Method

SERVICE = "/stoker.worker.v1.Worker/"

GET_INFO = Method(SERVICE + "GetInfo", pb.GetInfoRequest, pb.WorkerInfo)
GET_TOKENIZER = Method(SERVICE + "GetTokenizer", pb.GetTokenizerRequest, pb.TokenizerChunk)
SERVE = Method(SERVICE + "Serve", pb.Command, pb.Frame)
