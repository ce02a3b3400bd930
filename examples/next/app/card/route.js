import { ImageResponse } from 'next/og'

export const dynamic = 'force-dynamic'

/** A picture of ?text=…, drawn by the resvg that Next brings as WebAssembly. */
export function GET(request) {
  const text = new URL(request.url).searchParams.get('text') ?? ''
  return new ImageResponse(<div style={{ fontSize: 96, display: 'flex' }}>{text}</div>, { width: 600, height: 200 })
}
