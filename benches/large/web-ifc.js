'use strict'
// web-ifc: properties of a building, written and read again.

const { IFC4, IfcAPI } = require('web-ifc')

async function main() {
  const api = new IfcAPI()
  await api.Init()
  const model = api.CreateModel({ schema: 'IFC4' })
  for (let index = 0; index < 4000; index++) {
    const [name, label] = [new IFC4.IfcIdentifier(`wall ${index}`), new IFC4.IfcLabel(`Wall ${index}`)]
    api.WriteLine(model, new IFC4.IfcPropertySingleValue(name, null, label, null))
  }
  const saved = api.SaveModel(model)
  const again = api.OpenModel(saved)
  console.log(api.GetAllLines(again).size())
  api.CloseModel(again)
  api.CloseModel(model)
}

main()
