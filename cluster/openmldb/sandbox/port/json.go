package port

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Messages as brpc's json2pb writes and reads them, which protojson does not: field names as they are declared, 64-bit
// numbers as numbers, enumerations by name, and a repeated message of just a string `key` and a `value` as one object.

// marshalJSON writes a message; what is not set is left out, whatever its default. A required field that is not set is
// an error.
func marshalJSON(m proto.Message) ([]byte, error) {
	if err := proto.CheckInitialized(m); err != nil {
		return nil, err
	}
	return appendMessage(nil, m.ProtoReflect()), nil
}

func appendMessage(b []byte, m protoreflect.Message) []byte {
	b = append(b, '{')
	fields, first := m.Descriptor().Fields(), true
	for i := range fields.Len() {
		f := fields.Get(i)
		if !m.Has(f) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(appendString(b, string(f.Name())), ':')
		switch v := m.Get(f); {
		case f.IsMap():
			b = appendMap(b, f, v.Map())
		case isObject(f):
			b = appendPairs(b, f.Message(), v.List())
		case f.IsList():
			b = append(b, '[')
			for j := range v.List().Len() {
				if j > 0 {
					b = append(b, ',')
				}
				b = appendValue(b, f, v.List().Get(j))
			}
			b = append(b, ']')
		default:
			b = appendValue(b, f, v)
		}
	}
	return append(b, '}')
}

// isObject tells the repeated messages that are one object in JSON.
func isObject(f protoreflect.FieldDescriptor) bool {
	if !f.IsList() || f.Kind() != protoreflect.MessageKind || f.Message().Fields().Len() != 2 {
		return false
	}
	key, value := f.Message().Fields().Get(0), f.Message().Fields().Get(1)
	return key.Name() == "key" && key.Kind() == protoreflect.StringKind && !key.IsList() && value.Name() == "value"
}

func appendPairs(b []byte, d protoreflect.MessageDescriptor, pairs protoreflect.List) []byte {
	key, value := d.Fields().Get(0), d.Fields().Get(1)
	b = append(b, '{')
	for i := range pairs.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		pair := pairs.Get(i).Message()
		b = append(appendString(b, pair.Get(key).String()), ':')
		b = appendValue(b, value, pair.Get(value))
	}
	return append(b, '}')
}

func appendMap(b []byte, f protoreflect.FieldDescriptor, m protoreflect.Map) []byte {
	b = append(b, '{')
	first := true
	m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(appendString(b, k.String()), ':')
		b = appendValue(b, f.MapValue(), v)
		return true
	})
	return append(b, '}')
}

func appendValue(b []byte, f protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return strconv.AppendBool(b, v.Bool())
	case protoreflect.StringKind:
		return appendString(b, v.String())
	case protoreflect.BytesKind:
		return appendString(b, base64.StdEncoding.EncodeToString(v.Bytes()))
	case protoreflect.EnumKind:
		if named := f.Enum().Values().ByNumber(v.Enum()); named != nil {
			return appendString(b, string(named.Name()))
		}
		return strconv.AppendInt(b, int64(v.Enum()), 10)
	case protoreflect.MessageKind:
		return appendMessage(b, v.Message())
	case protoreflect.FloatKind:
		return strconv.AppendFloat(b, v.Float(), 'g', -1, 32)
	case protoreflect.DoubleKind:
		return strconv.AppendFloat(b, v.Float(), 'g', -1, 64)
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		return strconv.AppendUint(b, v.Uint(), 10)
	}
	return strconv.AppendInt(b, v.Int(), 10)
}

func appendString(b []byte, text string) []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // a string is always written
	return append(b, bytes.TrimSuffix(out.Bytes(), []byte("\n"))...)
}

// unmarshalJSON reads a message. A field that is not known, and an optional one of another type, are dropped; a required
// field that is missing or of another type, and a repeated one of another type, are errors.
func unmarshalJSON(text []byte, m proto.Message) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return fmt.Errorf("invalid JSON: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return fmt.Errorf("there is more after the JSON object")
	}
	return readMessage(tree, m.ProtoReflect())
}

func readMessage(tree any, m protoreflect.Message) error {
	object, ok := tree.(map[string]any)
	if !ok {
		return fmt.Errorf("%s: the value is no JSON object", m.Descriptor().FullName())
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		value, given := object[string(f.Name())]
		if !given || value == nil {
			if f.Cardinality() == protoreflect.Required {
				return fmt.Errorf("missing required field: %s", f.FullName())
			}
			continue
		}
		if err := readField(value, m, f); err != nil {
			return err
		}
	}
	return nil
}

func readField(value any, m protoreflect.Message, f protoreflect.FieldDescriptor) error {
	object, isMap := value.(map[string]any)
	switch {
	case f.IsMap() && isMap:
		return readMap(object, m.Mutable(f).Map(), f)
	case isObject(f) && isMap:
		return readPairs(object, m.Mutable(f).List(), f)
	case f.IsList() || f.IsMap():
		values, ok := value.([]any)
		if !ok || f.IsMap() {
			return mismatch(f, value)
		}
		list := m.Mutable(f).List()
		for _, value := range values {
			v, ok, err := readValue(value, f, list.NewElement)
			if err != nil {
				return err
			}
			if !ok {
				return mismatch(f, value)
			}
			list.Append(v)
		}
		return nil
	}
	v, ok, err := readValue(value, f, func() protoreflect.Value { return m.NewField(f) })
	switch {
	case err != nil:
		return err
	case ok:
		m.Set(f, v)
	case f.Cardinality() == protoreflect.Required:
		return mismatch(f, value)
	}
	return nil
}

func readPairs(object map[string]any, list protoreflect.List, f protoreflect.FieldDescriptor) error {
	for key, value := range object {
		pair := list.NewElement()
		if err := readMessage(map[string]any{"key": key, "value": value}, pair.Message()); err != nil {
			return err
		}
		list.Append(pair)
	}
	return nil
}

func readMap(object map[string]any, m protoreflect.Map, f protoreflect.FieldDescriptor) error {
	for key, value := range object {
		v, ok, err := readValue(value, f.MapValue(), m.NewValue)
		if err != nil {
			return err
		}
		if !ok || f.MapKey().Kind() != protoreflect.StringKind {
			return mismatch(f, value)
		}
		m.Set(protoreflect.ValueOfString(key).MapKey(), v)
	}
	return nil
}

func mismatch(f protoreflect.FieldDescriptor, value any) error {
	text, _ := json.Marshal(value)
	if len(text) > 100 {
		text = append(text[:100:100], "..."...)
	}
	return fmt.Errorf("invalid value `%s' for field %s, which should be %s %s", text, f.FullName(), f.Cardinality(), f.Kind())
}

// readValue reads one value; ok is false when it is of another type.
func readValue(
	value any, f protoreflect.FieldDescriptor, empty func() protoreflect.Value,
) (v protoreflect.Value, ok bool, err error) {
	if f.Kind() == protoreflect.MessageKind {
		if _, ok := value.(map[string]any); !ok {
			return v, false, nil
		}
		v = empty()
		return v, true, readMessage(value, v.Message())
	}
	switch x := value.(type) {
	case bool:
		return protoreflect.ValueOfBool(x), f.Kind() == protoreflect.BoolKind, nil
	case string:
		v, ok = readText(x, f)
	case json.Number:
		v, ok = readNumber(x.String(), f)
	}
	return v, ok, nil
}

func readText(text string, f protoreflect.FieldDescriptor) (protoreflect.Value, bool) {
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text), true
	case protoreflect.BytesKind:
		b, err := base64.StdEncoding.DecodeString(text)
		return protoreflect.ValueOfBytes(b), err == nil
	case protoreflect.EnumKind:
		if named := f.Enum().Values().ByName(protoreflect.Name(text)); named != nil {
			return protoreflect.ValueOfEnum(named.Number()), true
		}
	case protoreflect.Int64Kind, protoreflect.Uint64Kind:
		return readNumber(text, f)
	}
	return protoreflect.Value{}, false
}

func readNumber(text string, f protoreflect.FieldDescriptor) (protoreflect.Value, bool) {
	switch f.Kind() {
	case protoreflect.Int32Kind:
		n, err := strconv.ParseInt(text, 10, 32)
		return protoreflect.ValueOfInt32(int32(n)), err == nil
	case protoreflect.Int64Kind:
		n, err := strconv.ParseInt(text, 10, 64)
		return protoreflect.ValueOfInt64(n), err == nil
	case protoreflect.Uint32Kind:
		n, err := strconv.ParseUint(text, 10, 32)
		return protoreflect.ValueOfUint32(uint32(n)), err == nil
	case protoreflect.Uint64Kind:
		n, err := strconv.ParseUint(text, 10, 64)
		return protoreflect.ValueOfUint64(n), err == nil
	case protoreflect.EnumKind:
		n, err := strconv.ParseInt(text, 10, 32)
		number := protoreflect.EnumNumber(n)
		return protoreflect.ValueOfEnum(number), err == nil && f.Enum().Values().ByNumber(number) != nil
	case protoreflect.FloatKind:
		x, err := strconv.ParseFloat(text, 32)
		return protoreflect.ValueOfFloat32(float32(x)), err == nil
	case protoreflect.DoubleKind:
		x, err := strconv.ParseFloat(text, 64)
		return protoreflect.ValueOfFloat64(x), err == nil
	}
	return protoreflect.Value{}, false
}
