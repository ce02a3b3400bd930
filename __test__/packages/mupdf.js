'use strict'
// mupdf: has the legacy form of exceptions. Lays out HTML, converts it to
// PDF, adds a page of drawing operators, renders, extracts text, and meets broken files.

const { run } = require('./loop.js')

run(async () => {
  const mupdf = await import('mupdf')
  const html = `<html><head><style>h1 { color: #a00 } td { border: 1px solid; padding: 2pt } p { text-align: justify }</style></head><body>
    <h1>Kompilat &amp; Spur</h1><p>${'Mapped, not read: the <b>artifact</b> is <i>found</i> by its name. ÄÖÜ ß λ π. '.repeat(40)}</p>
    <table>${Array.from({ length: 12 }, (_, i) => `<tr><td>${i}</td><td>${(i * i) / 7}</td></tr>`).join('')}</table>
    <ul><li>one</li><li>two<ol><li>three</li></ol></li></ul></body></html>`

  const drawing = `q 0.1 0.2 0.6 rg 0 0 240 160 re f Q
    q 120 80 m 190 150 230 20 120 10 c 10 20 50 150 120 80 c W n 1 0.8 0.2 rg 20 10 180 120 re f 0.5 g 3 w [9 2 1] 4 d 0 0 m 240 160 l S Q
    q 0.9 0.1 0.1 RG 7 w 1 J 1 j 30 30 m 90 130 l 150 30 l s Q
    BT /F 22 Tf 0.94 0.34 -0.34 0.94 40 30 Tm 2 Tr 0.4 w 1 1 1 rg 2 Tc (artifact \\(mapped\\)) Tj T* [(A) 120 (V) -80 (AT)] TJ ET`

  function describe(document, outputs) {
    outputs.push(`${document.getMetaData('format')} ${document.countPages()} pages`)
    for (let i = 0; i < document.countPages(); i++) {
      const page = document.loadPage(i)
      const pixmap = page.toPixmap(
        mupdf.Matrix.scale(0.7, 0.7),
        i % 2 ? mupdf.ColorSpace.DeviceGray : mupdf.ColorSpace.DeviceRGB,
        false
      )
      outputs.push(String(page.getBounds()), pixmap.asPNG(), page.toStructuredText('preserve-whitespace').asJSON())
      outputs.push(JSON.stringify(page.search('artifact')))
      pixmap.destroy()
      page.destroy()
    }
  }

  return async () => {
    const outputs = []
    const book = mupdf.Document.openDocument(Buffer.from(html), 'text/html')
    book.layout(300, 400, 11)
    describe(book, outputs)
    const buffer = new mupdf.Buffer()
    const writer = new mupdf.DocumentWriter(buffer, 'pdf', 'compress')
    for (let i = 0; i < book.countPages(); i++) {
      const page = book.loadPage(i)
      page.run(writer.beginPage(page.getBounds()), mupdf.Matrix.identity)
      writer.endPage()
      page.destroy()
    }
    writer.close()
    book.destroy()
    // Described, and not the file itself: it carries the date.
    const pdf = mupdf.Document.openDocument(buffer.asUint8Array().slice(), 'application/pdf').asPDF()
    const resources = { Font: { F: pdf.addSimpleFont(new mupdf.Font('Times-Bold'), 'Latin') } }
    pdf.insertPage(-1, pdf.addPage([0, 0, 240, 160], 90, resources, drawing))
    describe(pdf, outputs)
    pdf.destroy()
    for (const [bytes, type] of [
      [Buffer.from('%PDF-1.7\nnothing'), 'application/pdf'],
      [Buffer.from('GIF89a??'), 'image/gif'],
      [Buffer.from(html), 'application/x-unknown'],
    ]) {
      try {
        const document = mupdf.Document.openDocument(bytes, type)
        outputs.push(`${document.countPages()}`, String(document.loadPage(7)))
      } catch (error) {
        outputs.push(`${error.name}: ${error.message}`)
      }
    }
    return outputs
  }
})
