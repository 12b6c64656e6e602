"""Names that a model file may use: the classes and functions that are built in Keras and only compute.

Stored as data, so that a file can be judged without loading TensorFlow. A test compares the lists with the
installed libraries. Left out on purpose: Lambda and every class that runs stored code, reads files or calls
TensorFlow by name (ResidualWrapper, TFSMLayer, TorchModuleWrapper, ClassMethod, TensorFlowOpLayer, StringLookup, ...).
"""

from __future__ import annotations


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


LAYER_CLASSES = words(
    """
    Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D
    AdaptiveAveragePooling3D AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add
    AddLoss AddMetric AdditiveAttention AlphaDropout Attention AugMix AutoContrast Average AveragePooling1D AveragePooling2D
    AveragePooling3D AvgPool1D AvgPool2D AvgPool3D BatchNormalization BatchNormalizationV1
    BatchNormalizationV2 Bidirectional CategoryEncoding CenterCrop Concatenate
    ContrastLimitedAdaptiveHistogramEqualization Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D
    Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Convolution1D Convolution1DTranspose Convolution2D
    Convolution2DTranspose Convolution3D Convolution3DTranspose Cropping1D Cropping2D Cropping3D CuDNNGRU
    CuDNNLSTM CutMix Dense DepthwiseConv1D DepthwiseConv2D Discretization Dot Dropout
    ELU EinsumDense Embedding Equalization Flatten Functional GRU GRUCell GRUCellV1 GRUCellV2
    GRUV1 GRUV2 GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D
    GlobalAveragePooling3D GlobalAvgPool1D GlobalAvgPool2D GlobalAvgPool3D GlobalMaxPool1D GlobalMaxPool2D
    GlobalMaxPool3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization
    GroupQueryAttention HashedCrossing Hashing Identity InputLayer LSTM LSTMCell LSTMCellV1
    LSTMCellV2 LSTMV1 LSTMV2 LayerNormalization LeakyReLU LocallyConnected1D LocallyConnected2D Masking
    MaxNumBoundingBoxes MaxPool1D MaxPool2D MaxPool3D MaxPooling1D MaxPooling2D MaxPooling3D Maximum
    MelSpectrogram Minimum MixUp Model MultiHeadAttention Multiply Normalization PReLU Permute Pipeline
    RMSNormalization RNN RandAugment RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast
    RandomCrop RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHeight
    RandomHue RandomInvert RandomPerspective RandomPosterization RandomRotation RandomSaturation
    RandomSharpness RandomShear RandomTranslation RandomWidth RandomZoom ReLU RepeatVector Rescaling Reshape
    Resizing ReversibleEmbedding STFTSpectrogram SeparableConv1D SeparableConv2D
    SeparableConvolution1D SeparableConvolution2D Sequential SimpleRNN SimpleRNNCell SlicingOpLambda Softmax
    Solarization SpatialDropout1D SpatialDropout2D SpatialDropout3D SpectralNormalization StackedRNNCells
    Subtract SyncBatchNormalization TFOpLambda ThresholdedReLU TimeDistributed UnitNormalization UpSampling1D
    UnifiedGRU UnifiedLSTM UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
    """
)
"""Layers and models of Keras 2 and Keras 3."""

HIDDEN_LAYERS = {"LayerScale": "src.applications.convnext"}
"""Layers of models in keras.applications that no public name leads to -> the module of either Keras that has them."""

WITH_TABLES = words("IntegerLookup")
"""Layers that look whole numbers up in a table, an operation that TensorFlow Lite lacks."""

FOR_TEXT = words("StringLookup TextVectorization")
"""Layers that take text. They may hold files or tables, and TensorFlow Lite lacks the operations."""

ONLY_IN_KERAS1 = words("BatchNormalizationMode Highway MaxoutDense Merge ParametricSoftplus SReLU")
"""Layers of Keras 1 without an equal today; BatchNormalizationMode is what its modes 1 and 2 are called here."""

ONLY_WHILE_TRAINING = words(
    """
    AugMix CutMix MixUp RandAugment RandomColorDegeneration RandomColorJitter RandomElasticTransform RandomErasing
    RandomGaussianBlur RandomGrayscale RandomHue RandomInvert RandomPerspective RandomPosterization RandomSaturation
    RandomSharpness RandomShear
    """
)
"""Layers of Keras 3 alone that return their input when a model predicts. They are left out."""

SETTING_CLASSES = words(
    """
    Constant DTypePolicy DTypePolicyMap FloatDTypePolicy GlorotNormal GlorotUniform HeNormal HeUniform
    Identity IdentityInitializer L1 L1L2 L2 LecunNormal LecunUniform MaxNorm MinMaxNorm NonNeg Ones Orthogonal
    OrthogonalInitializer OrthogonalRegularizer Policy PolicyV1 RadialConstraint RandomNormal RandomUniform
    STFT STFTInitializer TensorShape TruncatedNormal UnitNorm VarianceScaling Zeros __bytes__ __complex__
    __ellipsis__ __keras_tensor__ __numpy__ __slice__ __tensor__ __tuple__ constant glorot_normal
    glorot_uniform he_normal he_uniform identity l1 l1_l2 l2 lecun_normal lecun_uniform max_norm min_max_norm
    non_neg ones orthogonal orthogonal_regularizer radial_constraint random_normal random_uniform stft
    truncated_normal unit_norm variance_scaling zeros
    """
)
"""Initializers, regularizers, constraints and the plain values of the config format."""

ACTIVATIONS = words(
    """
    celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear
    log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softmax_v2 softplus
    softsign sparse_plus sparse_sigmoid sparsemax squareplus swish tanh tanh_shrink threshold
    """
)
"""Activations that Keras 2 or Keras 3 knows by name; softmax_v2 is what TensorFlow 2 called its own softmax."""

CODE_CLASSES = frozenset({"Lambda", "__lambda__"})
"""Hold Python code, stored as bytes, that runs when the file is opened."""

KERAS3_OPERATION_MODULES = ("core", "einops", "image", "linalg", "math", "nn", "numpy")
KERAS3_OPERATIONS = words(
    """
    Abs Absolute AdaptiveAveragePool AdaptiveMaxPool Add AffineTransform All AllClose Amax Amin Angle Any Append
    Arange Arccos Arccosh Arcsin Arcsinh Arctan Arctan2 Arctanh Argmax Argmin Argpartition Argsort Array ArraySplit
    Average AveragePool BatchNorm BinaryCrossentropy Bincount BitwiseAnd BitwiseInvert BitwiseLeftShift BitwiseNot
    BitwiseOr BitwiseRightShift BitwiseXor BroadcastTo CDist CTCDecode CTCLoss Cast CategoricalCrossentropy Cbrt
    Ceil Celu Cholesky CholeskyInverse Clip Concatenate Conj Conjugate Conv ConvTranspose ConvertToTensor Copy
    Corrcoef Correlate Cos Cosh CountNonzero CropImages Cross Cumprod Cumsum Deg2rad DepthToSpace DepthwiseConv Det
    Diag Diagflat Diagonal Diff Digitize Divide DivideNoNan Dot DotProductAttention Dsplit Dstack Eig Eigh Einsum
    ElasticTransform Elu EmptyLike Equal Erf Erfc Erfinv Exp Exp2 ExpandDims Expm1 ExtractPatches ExtractSequences
    FFT FFT2 Fabs Flip Fliplr Flipud Floor FloorDivide Fmax Fmin Fmod Fold Full FullLike GaussianBlur Gcd Gelu
    Geomspace GetItem Glu Greater GreaterEqual HSVToRGB HardShrink HardSigmoid HardSilu HardTanh Heaviside Histogram
    Hsplit Hstack Hypot I0 IFFT2 IRFFT ISTFT Imag InTopK Inner Inv IsIn Isclose Isfinite Isinf Isnan Isneginf
    Isposinf Isreal Kron LayerNorm Lcm Ldexp LeakyRelu LeftShift Less LessEqual Linspace Log Log10 Log1p Log2
    LogSigmoid LogSoftmax Logaddexp Logaddexp2 Logdet LogicalAnd LogicalNot LogicalOr LogicalXor Logspace Logsumexp
    Lstsq LuFactor MapCoordinates Matmul MatrixRank Max MaxPool Maximum Mean Median Meshgrid Min Minimum Mod Moments
    Moveaxis MultiHot Multiply NanToNum Nanargmax Nanargmin Nancumprod Nancumsum Nanmax Nanmean Nanmedian Nanmin
    Nanpercentile Nanprod Nanquantile Nanstd Nansum Nanvar Ndim Negative Nextafter Nonzero Norm Normalize NotEqual
    OneHot OnesLike Outer PSNR Pad PadImages Percentile PerspectiveTransform Pinv Polar Power Prod Ptp Qr Quantile
    RFFT RGBToGrayscale RGBToHSV RMSNorm Rad2deg Ravel Real Rearrange Reciprocal Relu Relu6 Repeat Reshape Resize
    RightShift Roll Rot90 Round Rsqrt SSIM STFT SVD SaturateCast ScaleAndTranslate Scatter ScatterUpdate
    SearchSorted SegmentMax SegmentMin SegmentProd SegmentSum Select Selu SeparableConv Sigmoid Sign Signbit Silu
    Sin Sinc Sinh Size Slice SliceUpdate Slogdet SobelEdges SoftShrink Softmax Softplus Softsign Solve
    SolveTriangular Sort SpaceToDepth SparseCategoricalCrossentropy SparsePlus SparseSigmoid Sparsemax Split Sqrt
    Square Squareplus Squeeze Stack Std StopGradient Subtract Sum Swapaxes Take TakeAlongAxis Tan Tanh TanhShrink
    Tensordot Threshold Tile TopK Trace Transpose Trapezoid Tril Triu TrueDivide Trunc Unfold Unique UnravelIndex
    Unstack Vander Var Vdot View ViewAsComplex ViewAsReal Vsplit Vstack Where ZerosLike
    """
)
"""Operations of Keras 3 (`x + y` on tensors of a functional model) that only compute; those that take a function do not."""

TENSORFLOW_NAMESPACES = ("math.", "nn.", "linalg.", "signal.", "image.resize", "__operators__.")
TENSORFLOW_FUNCTIONS = words(
    """
    abs acos acosh add add_n argmax argmin argsort asin asinh atan atan2 atanh batch_to_space bitcast boolean_mask
    broadcast_dynamic_shape broadcast_to cast clip_by_norm clip_by_value complex concat cos cosh cumsum depth_to_space
    div divide einsum ensure_shape equal exp expand_dims eye fill floor gather gather_nd greater greater_equal identity
    identity_n less less_equal linspace log logical_and logical_not logical_or matmul maximum meshgrid minimum multiply
    negative norm not_equal one_hot ones ones_like pad pow range rank realdiv reduce_all reduce_any reduce_logsumexp
    reduce_max reduce_mean reduce_min reduce_prod reduce_sum repeat reshape reverse reverse_sequence roll round
    saturate_cast scalar_mul scatter_nd searchsorted sequence_mask shape shape_n sigmoid sign sin sinh size slice sort
    space_to_batch space_to_batch_nd space_to_depth split sqrt square squeeze stack stop_gradient strided_slice subtract
    tan tanh tensor_scatter_nd_add tensor_scatter_nd_max tensor_scatter_nd_min tensor_scatter_nd_sub
    tensor_scatter_nd_update tensordot tile to_float to_int32 transpose truediv truncatediv truncatemod unique
    unravel_index unstack where zeros zeros_like
    image.adjust_brightness image.adjust_contrast image.adjust_gamma image.adjust_hue image.adjust_saturation
    image.central_crop image.combined_non_max_suppression image.convert_image_dtype image.crop_and_resize
    image.crop_to_bounding_box image.extract_patches image.flip_left_right image.flip_up_down image.grayscale_to_rgb
    image.hsv_to_rgb image.image_gradients image.non_max_suppression image.pad_to_bounding_box
    image.per_image_standardization image.rgb_to_grayscale image.rgb_to_hsv image.rgb_to_yiq image.rgb_to_yuv image.rot90
    image.sobel_edges image.total_variation image.transpose image.yiq_to_rgb image.yuv_to_rgb
    """
)
"""TensorFlow functions that a functional Keras 2 model may call by name, also as `compat.v1.<name>`. Others could read or
write files, or call Python."""

RANDOM_FUNCTIONS = ("random.", "image.random_", "image.stateless_random_", "keras.backend.random_")
"""TensorFlow functions that give something else at each call."""
