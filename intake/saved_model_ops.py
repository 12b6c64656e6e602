"""Names of the TensorFlow operations that the graph of a SavedModel may use, as data.

A graph is never run before each of its operations was found on `COMPUTING`, `VARIABLES` or `CALLS`. The other lists only
make the sentences better: what acts on the world outside is refused wherever it stands (except in the functions that
save and restore), what handles text makes one signature unusable, so that another one can be looked for.
"""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


VARIABLES = _names(
    """
    VarHandleOp ReadVariableOp ResourceGather ResourceGatherNd VariableV2 Variable VariableShape DisableCopyOnRead
    AssignVariableOp AssignAddVariableOp AssignSubVariableOp VarIsInitializedOp Assign
    """
)

CALLS = _names(
    """
    PartitionedCall StatefulPartitionedCall If StatelessIf While StatelessWhile Case StatelessCase
    """
)

RANDOM = _names(
    """
    RandomUniform RandomStandardNormal TruncatedNormal RandomUniformInt StatelessRandomGetAlg
    StatelessRandomGetKeyCounter StatelessRandomUniformV2 StatelessRandomNormalV2 StatelessRandomUniform
    StatelessRandomNormal
    """
)
"""Compute, but something else each time: nothing that a rebuilt model could be compared with."""

COMPUTING = RANDOM | _names(
    """
    Abs Acos Acosh Add AddN AddV2 All Any ApproximateEqual ArgMax ArgMin Asin Asinh Assert Atan Atan2 Atanh AvgPool
    AvgPool3D BatchMatMul BatchMatMulV2 BatchMatMulV3 BatchNormWithGlobalNormalization BatchToSpace BatchToSpaceND
    BiasAdd BiasAddV1 Bitcast BroadcastArgs BroadcastTo Bucketize Cast Ceil CheckNumerics ClipByValue Concat
    ConcatOffset ConcatV2 Const Conv2D Conv2DBackpropInput Conv2DBackpropInputV2 Conv3D Conv3DBackpropInput
    Conv3DBackpropInputV2 Conv Cos Cosh Cross CudnnRNN CudnnRNNV2 CudnnRNNV3 CudnnRNNCanonicalToParams
    CudnnRNNCanonicalToParamsV2 CudnnRNNParamsSize Cumprod Cumsum CumulativeLogsumexp DataFormatDimMap
    DataFormatVecPermute DepthToSpace DepthwiseConv2dNative Diag DiagPart Dilation2D Div DivNoNan DynamicPartition
    DynamicStitch Einsum Elu EmptyTensorList Enter EnsureShape Equal Erf Erfc Exit Exp ExpandDims Expm1 Eye FFT FFT2D
    FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel Fill Floor FloorDiv FloorMod
    FractionalAvgPool FractionalMaxPool FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 Gather GatherNd GatherV2 Greater
    GreaterEqual IFFT IRFFT Identity IdentityN Inv Invert InvertPermutation IsFinite IsInf IsNan L2Loss LRN LeakyRelu
    LeftShift Less LessEqual LinSpace Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr LoopCond MatMul
    MatrixBandPart MatrixDiag MatrixDiagV2 MatrixDiagV3 MatrixDiagPartV3 MatrixInverse MatrixSetDiagV3 Max MaxPool
    MaxPool3D MaxPoolV2 Maximum Mean Merge Min Minimum MirrorPad Mod Mul MulNoNan Multinomial Neg NextIteration NoOp
    NonMaxSuppressionV3 NonMaxSuppressionV4 NotEqual OneHot OnesLike Pack Pad PadV2 ParallelConcat Placeholder
    PlaceholderWithDefault Pow PreventGradient Prod RFFT Range Rank RealDiv Reciprocal Relu Relu6 Reshape
    ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor Reverse ReverseSequence ReverseV2 RightShift Rint Roll
    Round Rsqrt ScatterNd SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum Select SelectV2 Selu Shape ShapeN
    Sigmoid Sign Sin Sinh Size Slice Snapshot Softmax Softplus Softsign SpaceToBatch SpaceToBatchND SpaceToDepth Split
    SplitV Sqrt Square SquaredDifference Squeeze StopGradient StridedSlice Sub Sum Switch Tan Tanh TensorListElementShape
    TensorListFromTensor TensorListGather TensorListGetItem TensorListLength TensorListPushBack TensorListReserve
    TensorListResize TensorListSetItem TensorListStack TensorScatterUpdate Tile TopK TopKV2 Transpose TruncateDiv
    TruncateMod Unique UniqueV2 Unpack UnsortedSegmentSum Where Xdivy Xlogy ZerosLike
    """
)

ABOUT_TEXT = _names(
    """
    HashTable HashTableV2 MutableHashTable MutableHashTableV2 MutableHashTableOfTensors MutableHashTableOfTensorsV2
    AnonymousHashTable AnonymousMutableHashTable InitializeTable InitializeTableV2 InitializeTableFromTextFile
    InitializeTableFromTextFileV2 LookupTableFind LookupTableFindV2 LookupTableSize LookupTableSizeV2
    LookupTableExport LookupTableExportV2 LookupTableImport LookupTableImportV2 LookupTableInsertV2 StringSplit
    StringSplitV2 StringLower StringUpper StringStrip StringLength StringJoin StringFormat StringNGrams StringToNumber
    StringToHashBucket StringToHashBucketFast StringToHashBucketStrong StaticRegexReplace StaticRegexFullMatch
    RegexReplace RegexFullMatch ReduceJoin UnicodeDecode UnicodeEncode UnicodeDecodeWithOffsets UnicodeTranscode
    UnicodeScript Substr AsString DecodeBase64 EncodeBase64 DecodeRaw DecodeJpeg DecodePng DecodeBmp DecodeGif DecodeImage
    DecodeCSV DecodeWav ParseExample ParseExampleV2 ParseSingleExample ParseTensor SerializeTensor
    SparseTensorDenseMatMul SparseToDense RaggedTensorToTensor RaggedTensorToVariant RaggedTensorFromVariant RaggedGather
    RaggedRange RaggedTensorToSparse EncodeJpeg EncodePng
    """
)
"""Text, tables, encoded files and ragged rows: not dangerous, but nothing that TensorFlow Lite alone runs on arrays."""

ACTING = _names(
    """
    ReadFile WriteFile MatchingFiles Save SaveV2 SaveSlices Restore RestoreV2 RestoreSlice MergeV2Checkpoints
    ShardedFilename ShardedFilespec PyFunc PyFuncStateless EagerPyFunc Print PrintV2 TextLineReader TextLineReaderV2
    WholeFileReader WholeFileReaderV2 FixedLengthRecordReader FixedLengthRecordReaderV2 TFRecordReader TFRecordReaderV2
    LMDBReader IdentityReader IdentityReaderV2 ReaderRead ReaderReadV2 ReaderReadUpTo ReaderReadUpToV2 RpcCall RpcServer
    RpcServerStart RpcClient TryRpc Rpc DebugIdentity DebugIdentityV2 DebugIdentityV3 DebugNumericSummary
    DebugNumericSummaryV2 GenerateVocabRemapping LoadAndRemapMatrix InitializeTableFromDataset XlaHostCompute
    RemoteCall RemoteFusedGraphExecute RunGraph BigQueryReader AudioSummary AudioSummaryV2 HistogramSummary ImageSummary
    ScalarSummary MergeSummary TensorSummary TensorSummaryV2 SdcaOptimizer DistributedSave CollectiveReduce Send Recv
    HostSend HostRecv _Send _Recv GetSessionHandle GetSessionHandleV2 Abort FileSystemSetConfiguration
    """
)
"""Reach files, the network, Python, the console or other processes."""

ACTING_PARTS = ("Dataset", "Iterator", "SummaryWriter", "WriteSummary", "PyFunc", "Reader", "File", "Collective", "TPU")
"""Operations with one of these in their name reach outside as well, as far as they are not on the lists above."""


HANDED_OVER = _names("IteratorGetNext IteratorGetNextAsOptional OptionalHasValue OptionalGetValue")
"""Take samples from an iterator that the caller hands over: Keras 2 saves the `adapt` of a Normalization, which does."""


def acts_outside(op: str) -> bool:
    """Tell whether an operation reaches files, the network, Python, the console or other processes."""
    known = COMPUTING | VARIABLES | CALLS | ABOUT_TEXT | HANDED_OVER
    return op in ACTING or (op not in known and any(part in op for part in ACTING_PARTS))
